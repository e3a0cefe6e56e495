"""Muon for the matrices inside the network, AdamW for everything else, in one optimiser.

Muon replaces a matrix's momentum by the nearest orthogonal matrix, so that every direction
learns at the same speed; rare words and small details profit most.  (Jordan 2024; scaled as in
Liu 2025, 2502.16982, so that one learning rate serves both kinds.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalized(
    matrices: Tensor, iterations: int = 5, dtype: torch.dtype = torch.bfloat16
) -> Tensor:
    """The polar factor U V^T of each matrix (N, m, n), approximately, by Newton-Schulz.

    Five steps of a quintic whose coefficients bring every singular value above about a
    hundredth of the matrix's norm into about [0.7, 1.2], which is all that an update needs;
    smaller ones grow but stay below.  Computed in ``dtype``.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    x = x.to(dtype)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Optimizer(torch.optim.Optimizer):
    """Decoupled weight decay in both kinds; every group carries ``kind``: "muon" or "adamw".

    Args:
        groups: from `parameter_groups`.
        learning_rate: set anew before every step by the trainer.
        betas, eps: of AdamW (Loshchilov & Hutter, 1711.05101).
        momentum: of Muon, Nesterov's form.
        dtype: of Muon's matrix products.  A full-precision run takes float32: where a gradient
            lacks directions, rounding would choose them, differently on every machine.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        self._dtype = dtype
        super().__init__(
            groups,
            {
                "lr": learning_rate,
                "betas": tuple(betas),
                "eps": eps,
                "momentum": momentum,
                "weight_decay": 0.0,
                "kind": "adamw",
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            with_gradient = [p for p in group["params"] if p.grad is not None]
            if group["kind"] == "muon":
                self._muon(group, with_gradient)
            else:
                self._adamw(group, with_gradient)

    def _muon(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        # equal shapes are orthogonalised together: few large products instead of many small
        shapes: dict[tuple[int, int], list[Tensor]] = {}
        for p in parameters:
            shapes.setdefault((p.shape[0], p[0].numel()), []).append(p)
        for (rows, columns), members in shapes.items():
            updates = []
            for p in members:
                assert p.grad is not None
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].mul_(group["momentum"]).add_(p.grad)
                nesterov = p.grad + group["momentum"] * state["momentum"]
                updates.append(nesterov.reshape(rows, columns))
            # 0.2 sqrt(longer side) gives the root-mean-square size of an AdamW update
            rate = group["lr"] * 0.2 * max(rows, columns) ** 0.5
            turned = orthogonalized(torch.stack(updates), dtype=self._dtype)
            for p, update in zip(members, turned, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(update.reshape(p.shape), alpha=rate)

    def _adamw(self, group: dict[str, Any], parameters: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        for p in parameters:
            assert p.grad is not None
            state = self.state[p]
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            state["mean"].lerp_(p.grad, 1 - beta1)
            state["square"].lerp_(p.grad.square(), 1 - beta2)
            mean_bias = 1 - beta1 ** state["step"]
            square_bias = 1 - beta2 ** state["step"]
            scale = (state["square"] / square_bias).sqrt_().add_(group["eps"])
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.addcdiv_(state["mean"], scale, value=-group["lr"] / mean_bias)


def parameter_groups(
    module: nn.Module, optimizer: str, weight_decay: float
) -> list[dict[str, Any]]:
    """Which parameters learn how.

    Matrices of hidden layers go to Muon when ``optimizer`` is "muon".  Embeddings, the layers
    named ``embed`` and ``final`` at the network's ends, convolutions, gains and biases stay
    with AdamW; those with fewer than two axes are not decayed.
    """
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, p in module.named_parameters():
        if not p.requires_grad:
            continue
        at_the_ends = any(part in ("embed", "final", "positions") for part in name.split("."))
        hidden = p.ndim == 2 and id(p) not in embeddings and not at_the_ends
        kind = "muon" if optimizer == "muon" and hidden else "adamw"
        groups.setdefault((kind, p.ndim >= 2), []).append(p)
    return [
        {"params": members, "kind": kind, "weight_decay": weight_decay if decayed else 0.0}
        for (kind, decayed), members in sorted(groups.items())
    ]
