"""Exact denoisers: what a perfect network would answer, in closed form.

They stand where a trained network stands, so samplers, guidance and lessons can be judged
against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato.diffusion.schedule import Schedule

POINT = 1e-40
"""The least variance of a component: a point seen at t = 0 would otherwise divide 0 by 0."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """The exact denoiser of data drawn from a mixture of round Gaussians.

    E[x_0 | x_t] = sum_k r_k (m_k + g_k (x_t - alpha m_k)), g_k = alpha s_k^2 / v_k,
    v_k = alpha^2 s_k^2 + sigma^2, with r_k the posterior weights of the components.

    Args:
        means: (K, *shape).
        stds: (K,), zero for points: a finite data set, whose exact denoiser is what a network
            that memorises would learn (2311.10892 calls it the optimal denoiser).
        schedule: of the noisy pictures it is given.
        weights: (K,), equal by default.
    """

    means: Tensor
    stds: Tensor
    schedule: Schedule
    weights: Tensor | None = None

    @classmethod
    def gaussian(
        cls, mean: float, std: float, shape: tuple[int, ...], schedule: Schedule
    ) -> Mixture:
        """One Gaussian N(mean, std^2) in every coordinate."""
        return cls(torch.full((1, *shape), mean), torch.tensor([std]), schedule)

    @classmethod
    def of_pictures(cls, pictures: Tensor, schedule: Schedule) -> Mixture:
        """The finite data set (K, C, H, W) itself."""
        return cls(pictures, torch.zeros(len(pictures)), schedule)

    def calls(self, t: Tensor) -> int:
        return 1

    def posterior(self, x_t: Tensor, t: Tensor) -> Tensor:
        """r_k: the probability (B, K) that x_t (B, ...) came from component k."""
        alpha, variance = self._levels(x_t, t)
        x, means = x_t.cpu().double().flatten(1), self.means.cpu().double().flatten(1)
        # |x - alpha m|^2 written out, because (B, K) numbers fit where (B, K, pixels) do not
        away = x.square().sum(1, keepdim=True) - 2 * alpha * (x @ means.T)
        away = (away + alpha**2 * means.square().sum(1)).clamp(min=0)
        log_likelihood = -away / (2 * variance) - means.shape[1] / 2 * variance.log()
        if self.weights is not None:
            log_likelihood = log_likelihood + self.weights.cpu().double().log()
        return log_likelihood.softmax(1)

    def __call__(self, x_t: Tensor, t: Tensor, condition: Any = None) -> Tensor:
        """E[x_0 | x_t], same shape, dtype and device as x_t; t () or (B,)."""
        alpha, variance = self._levels(x_t, t)
        gain = alpha * self.stds.cpu().double() ** 2 / variance
        share = self.posterior(x_t, t)
        # sum_k r_k (m_k (1 - g_k alpha) + g_k x_t)
        guess = (share * (1 - gain * alpha)) @ self.means.cpu().double().flatten(1)
        guess = guess + (share * gain).sum(1, keepdim=True) * x_t.cpu().double().flatten(1)
        return guess.reshape(x_t.shape).to(x_t)

    def _levels(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha (B, 1) and v_k (B, K), float64 on the CPU whatever the device of x_t."""
        alpha, sigma = (level.cpu().expand(len(x_t))[:, None] for level in self.schedule(t))
        return alpha, (alpha**2 * self.stds.cpu().double() ** 2 + sigma**2).clamp(min=POINT)
