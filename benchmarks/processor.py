"""What this processor does in a second, on one thread: the numbers that networks are built by.

    OMP_NUM_THREADS=1 python benchmarks/processor.py

Counts the processor time of the thread, so that other work on the machine matters little; prints
the best of several repetitions in fp32 and bf16.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

TYPES = (torch.float32, torch.bfloat16)


def best(call: Callable[[], object], repetitions: int = 15) -> float:
    """Seconds of the fastest call, after two to warm up."""
    call()
    call()
    seconds = math.inf
    for _ in range(repetitions):
        begin = time.thread_time()
        call()
        seconds = min(seconds, time.thread_time() - begin)
    return seconds


def line(what: str, values: list[float], unit: str) -> None:
    """One row: what was done, then fp32 and bf16."""
    print(f"{what:<58}" + "".join(f"{value:>9.3g}" for value in values) + f"  {unit}")


def matrix_products() -> None:
    for side in (512, 1024, 2048):
        rates = []
        for dtype in TYPES:
            a, b = (torch.randn(side, side).to(dtype) for _ in range(2))
            rates.append(2 * side**3 / best(lambda a=a, b=b: a @ b) / 1e9)
        line(f"matrix product, {side} x {side}", rates, "GFLOP/s")


def convolutions() -> None:
    work = 2 * 64 * 128 * 128 * 9 * 16 * 16
    for layout in (torch.contiguous_format, torch.channels_last):
        rates = []
        for dtype in TYPES:
            x = torch.randn(64, 128, 16, 16).to(dtype, memory_format=layout)
            weight = torch.randn(128, 128, 3, 3).to(dtype, memory_format=layout)
            seconds = best(lambda x=x, w=weight: F.conv2d(x, w, padding=1), 8)
            rates.append(work / seconds / 1e9)
        line(f"3x3 convolution 128 -> 128, 64 of 16x16, {_name(layout)}", rates, "GFLOP/s")


def group_norms() -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        times = []
        for dtype in TYPES:
            norm = torch.nn.GroupNorm(32, 128).to(dtype)
            x = torch.randn(64, 128, 16, 16).to(dtype, memory_format=layout)
            times.append(1000 * best(lambda norm=norm, x=x: norm(x)))
        line(f"GroupNorm(32), 64 x 128 x 16 x 16, {_name(layout)}", times, "ms")


def attentions() -> None:
    """Forward and backward."""
    for shape in ((64, 4, 64, 64), (64, 4, 88, 64), (64, 16, 64, 16)):
        for name, attend in (("fused", F.scaled_dot_product_attention), ("plain", _plain)):
            times = []
            for dtype in TYPES:
                q, k, v = (torch.randn(shape).to(dtype).requires_grad_() for _ in range(3))
                above = torch.randn(shape).to(dtype)
                times.append(
                    1000 * best(lambda q=q, k=k, v=v, a=attend, up=above: a(q, k, v).backward(up))
                )
            line(f"attention, (batch, heads, tokens, width) = {shape}, {name}", times, "ms")


def _plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


def _name(layout: torch.memory_format) -> str:
    return "channels-last" if layout == torch.channels_last else "contiguous"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread")
    print(f"{'':<58}{'fp32':>9}{'bf16':>9}")
    for measure in (matrix_products, convolutions, group_norms, attentions):
        measure()
