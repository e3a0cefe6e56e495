"""What this machine gives a process: cores, peak memory, and whether bf16 is worth it.

Importing this does not import torch.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sfumato.cores import cores
from sfumato.locale import translate

PROBE_SECONDS = 0.2
PAYS_FROM = 1.3  # bf16 loses some accuracy, so it must be clearly faster


def peak_memory() -> int:
    """The most physical memory this process has held so far, in bytes."""
    if sys.platform == "win32":
        return _peak_windows()
    try:
        # Unlike getrusage's, this peak starts anew with exec and leaves the parent's out.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def threads_allowed(root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> int:
    """How many cores this process may use, at least 1.

    The least of: the CPU affinity, the quota of its control group and of those above (v1 and v2,
    rounded down), and ``OMP_NUM_THREADS`` where someone has set it. ``root`` is where ``/proc``
    and ``/sys`` are looked for.
    """
    limits: list[float] = [cores()]
    limits += _quotas(root)
    stated = environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if stated.isdecimal() and int(stated) > 0:
        limits.append(int(stated))
    return max(1, int(min(limits)))


def bf16_pays(device: str = "cpu") -> tuple[bool, str]:
    """Whether bf16 matrix products are clearly faster than fp32 ones here, and why, in a sentence.

    Times real products (512^3 on a processor, 4096^3 elsewhere), the two kinds in turn, the best
    of each, for about 0.2 s with the threads torch is set to. Where bf16 fails, the answer is no.
    """
    import torch

    size = 512 if torch.device(device).type == "cpu" else 4096
    wait = _waiter(device)
    products: dict[str, Callable[[], object]] = {}
    try:
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            matrix = torch.full((size, size), 0.5, dtype=dtype, device=device)
            products[name] = partial(torch.matmul, matrix, matrix)
        fp32, bf16 = _race(products["fp32"], products["bf16"], wait)
    except (RuntimeError, AssertionError) as error:  # a build without that device asserts
        reason = str(error).splitlines()[0] if str(error) else "no reason given"
        return False, translate("machine.bf16_broken", reason=reason)
    times = {"size": size, "bf16": f"{bf16 * 1e3:.2g}", "fp32": f"{fp32 * 1e3:.2g}"}
    ratio = fp32 / bf16
    if ratio >= PAYS_FROM:
        return True, translate("machine.bf16_on", **times, ratio=f"{ratio:.1f}")
    return False, translate("machine.bf16_off", **times)


def _race(
    first: Callable[[], object], second: Callable[[], object], wait: Callable[[], None]
) -> tuple[float, float]:
    """The best time of each, taken in turn, so that a busy moment meets both."""
    works = (first, second)
    for work in works:  # the first call prepares kernels
        work()
    best = [float("inf"), float("inf")]
    deadline = time.perf_counter() + PROBE_SECONDS
    for _ in range(40):
        for which, work in enumerate(works):
            wait()
            start = time.perf_counter()
            work()
            wait()
            best[which] = min(best[which], time.perf_counter() - start)
        if time.perf_counter() > deadline:
            break
    return best[0], best[1]


def _waiter(device: str) -> Callable[[], None]:
    """A function that returns when the device has finished its work."""
    import torch

    kind = torch.device(device).type
    wait = getattr(getattr(torch, kind, None), "synchronize", None)
    return (lambda: None) if kind == "cpu" or wait is None else wait


def _quotas(root: Path) -> list[float]:
    """The processor quotas, in cores, of this process' control groups and their parents."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif "cpu" in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"]
        else:
            continue
        # Inside a container the path may not exist below the mount; the mount itself then counts.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for mount in mounts:
            for depth in range(len(parts), -1, -1):
                quotas += _quota(mount.joinpath(*parts[:depth]))
    return quotas


def _quota(group: Path) -> list[float]:
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()[:2]
        else:
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        cores = float(quota) / float(period) if quota != "max" else 0.0
    except (OSError, ValueError, ZeroDivisionError):
        return []
    return [cores] if cores > 0 else []


def _peak_windows() -> int:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = [
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in (
                "PeakWorkingSetSize", "WorkingSetSize", "QuotaPeakPagedPoolUsage",
                "QuotaPagedPoolUsage", "QuotaPeakNonPagedPoolUsage", "QuotaNonPagedPoolUsage",
                "PagefileUsage", "PeakPagefileUsage",
            )),
        ]  # fmt: skip

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    query = kernel.K32GetProcessMemoryInfo
    query.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD)
    if not query(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
        raise OSError("GetProcessMemoryInfo failed")
    return int(counters.PeakWorkingSetSize)
