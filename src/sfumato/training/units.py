"""Bytes and seconds in words."""

from __future__ import annotations


def human_bytes(size: float) -> str:
    """1,234,567 -> '1.2 MB' (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            whole = unit == "B" or abs(size) >= 99.5
            return f"{size:.0f} {unit}" if whole else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def human_time(seconds: float) -> str:
    """75 -> '1 min 15 s', 5400 -> '1 h 30 min', 0.42 -> '0.4 s'."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
