"""Bytes, seconds and phases in words."""

from __future__ import annotations

from sfumato.locale import translate

BYTES = "B kB MB GB TB"
TIME = "s min h"


def human_bytes(size: float, units: str = BYTES) -> str:
    """1,234,567 -> '1.2 MB' (powers of 1000); ``units``: five names, from bytes upwards."""
    *smaller, largest = units.split()
    for power, unit in enumerate(smaller):
        if abs(size) < 999.5:
            whole = not power or abs(size) >= 99.5
            return f"{size:.0f} {unit}" if whole else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {largest}"


def human_time(seconds: float, units: str = TIME) -> str:
    """75 -> '1 min 15 s', 5400 -> '1 h 30 min', 0.42 -> '0.4 s'; ``units``: three names."""
    second, minute, hour = units.split()
    if seconds < 9.95:
        return f"{seconds:.1f} {second}"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} {second}"
    if whole < 600:
        return f"{whole // 60} {minute} {whole % 60} {second}"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} {minute}"
    return f"{minutes // 60} {hour} {minutes % 60} {minute}"


def phase_name(phase: str) -> str:
    """What a phase of the training is called."""
    if phase == "autoencoder":
        return translate("phase.autoencoder")
    return translate("phase.diffusion")
