"""One contender in a process of its own: answers orders, one JSON object a line.

Started by training_throughput.py.  Orders: {"seconds": s} trains for at least s seconds and
answers with the number of images and the seconds they took; {"end": true} answers with the peak
memory and ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from contenders import CHANNELS, CLASSES, CONTENDERS, SIDE, TEXT_WIDTH, TOKENS, Inputs
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def peak_memory() -> int:
    """Bytes of physical memory this process has held at most (Linux), else 0."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def products(precision: str, device: str) -> tuple[Callable[[], None], dict[str, Any]]:
    """Matrix products at the size where this machine is fastest: the peak others are held to."""
    size = 1024 if device == "cpu" else 8192
    matrix = torch.randn(size, size, device=device).to(DTYPES[precision])

    def step() -> None:
        for _ in range(4):
            torch.matmul(matrix, matrix)

    return step, {"flops_per_call": 4 * 2 * size**3}


def batch_of(batch: int, device: str) -> tuple[Tensor, Tensor, Inputs]:
    """Noise of a picture's shape, times in 0..1000, and what everyone is told."""
    return (
        torch.randn(batch, CHANNELS, SIDE, SIDE, device=device),
        torch.rand(batch, device=device) * 999,
        Inputs(
            torch.randn(batch, TEXT_WIDTH, device=device),
            torch.randn(batch, TOKENS, TEXT_WIDTH, device=device),
            torch.ones(batch, TOKENS, dtype=torch.bool, device=device),
            torch.randint(CLASSES, (batch,), device=device),
        ),
    )


def training(
    name: str, precision: str, batch: int, device: str
) -> tuple[Callable[[], None], dict[str, Any]]:
    """Forward, backward and AdamW on one fixed batch of noise."""
    torch.manual_seed(0)
    network, call = CONTENDERS[name][2]()
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    x, times, inputs = batch_of(batch, device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            output = call(x, times, inputs)
        nn.functional.mse_loss(output.float(), x).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, {
        "parameters": sum(p.numel() for p in network.parameters()),
        "flops_per_image": operations(name),
        "batch": batch,
    }


def operations(name: str) -> int:
    """Multiplications and additions of forward and backward for one picture, counted by torch.

    On the meta device, which computes shapes only, and with the plain attention, because not
    every fused one is counted.
    """
    math_only = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), math_only, counter:
        _, call = CONTENDERS[name][2]()
        x, times, inputs = batch_of(1, "meta")
        call(x, times, inputs).sum().backward()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("precision", choices=DTYPES)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--clock", required=True)
    options = parser.parse_args()
    # libraries print; the answers keep standard output to themselves
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(told: dict[str, Any]) -> None:
        print(json.dumps(told), file=answers, flush=True)

    def clock() -> float:
        if options.clock == "processor":
            return time.process_time() / options.threads
        return time.perf_counter()

    def wait() -> None:
        if options.device != "cpu":
            torch.cuda.synchronize()

    torch.set_num_threads(options.threads)
    try:
        if options.name == "products":
            step, facts = products(options.precision, options.device)
        else:
            step, facts = training(options.name, options.precision, options.batch, options.device)
        step()
        wait()
    except (ImportError, RuntimeError) as error:
        answer({"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"})
        return
    answer({**facts, "torch": torch.__version__})
    for line in sys.stdin:
        order = json.loads(line)
        if order.get("end"):
            peak = peak_memory()
            if options.device == "cuda":
                peak = torch.cuda.max_memory_allocated()
            answer({"peak_memory": peak})
            return
        calls, start = 0, clock()
        while calls == 0 or clock() - start < order["seconds"]:
            step()
            wait()
            calls += 1
        answer({"calls": calls, "seconds": clock() - start})


if __name__ == "__main__":
    main()
