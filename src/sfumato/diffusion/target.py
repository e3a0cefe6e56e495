"""What the network is asked to predict, and how to read its answer.

Four kinds, two functions each: `target` makes the training target from the clean picture and
the noise; `recover` gets clean picture and noise back from the network's output.  All are
linear, so one number, `error_scale`, converts the error of the output into the error of the
clean picture; every loss weight follows from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


def like(level: Tensor, picture: Tensor) -> Tensor:
    """A level () or (B,) reshaped to broadcast over the picture (B, ...), in its dtype and place.

    A level that already has the picture's number of axes, as the levels of a pyramid do
    (see `pyramid.LevelSchedule`), keeps its shape.

    Written out once because plain broadcasting silently pairs B with the width whenever the
    two are equal.
    """
    level = level.to(picture)
    if level.ndim == picture.ndim:
        return level
    return level.reshape(-1, *[1] * (picture.ndim - 1)) if level.ndim else level


class Target(ABC):
    """A linear view of (x_0, eps).  Levels are (), (B,) or a pyramid's (B, 1, N)."""

    @abstractmethod
    def target(self, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """What the network should say, (B, ...)."""

    @abstractmethod
    def recover_x0(self, y: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        """The clean picture that the answer y implies."""

    @abstractmethod
    def error_scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        """|d x_0 / d y|: how an error of the output shows in the clean picture."""

    def recover(
        self, y: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Clean picture and noise implied by the answer y at x_t."""
        x0 = self.recover_x0(y, x_t, alpha, sigma)
        return x0, noise_in(x_t, x0, alpha, sigma)


def noise_in(x_t: Tensor, x0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """eps = (x_t - alpha x_0) / sigma, and zero where there is no noise (sigma = 0)."""
    sigma = like(sigma, x_t)
    # the divisor is replaced before the division: a 0 / 0 masked afterwards would still put
    # NaN into the gradients
    eps = (x_t - like(alpha, x_t) * x0) / torch.where(sigma > 0, sigma, torch.ones_like(sigma))
    return torch.where(sigma > 0, eps, torch.zeros_like(eps))


class CleanImage(Target):
    """y = x_0.  The only kind that survives large raw patches (2511.13720)."""

    def target(self, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return x0

    def recover_x0(self, y: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return y

    def error_scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return torch.ones_like(alpha)


class Noise(Target):
    """y = eps (DDPM, 2006.11239).

    Where alpha = 0 the answer says nothing about x_0 (0 / 0), and its `error_scale` is infinite.
    `recover_x0` then gives 0, the middle of the range: the one step of a walk that starts in
    pure noise stays finite, and the next step sees signal.
    """

    def target(self, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return eps

    def recover_x0(self, y: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        alpha = like(alpha, x_t)
        x0 = (x_t - like(sigma, x_t) * y) / torch.where(alpha > 0, alpha, torch.ones_like(alpha))
        return torch.where(alpha > 0, x0, torch.zeros_like(x0))

    def recover(
        self, y: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor
    ) -> tuple[Tensor, Tensor]:
        return self.recover_x0(y, x_t, alpha, sigma), y

    def error_scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / alpha


class Velocity(Target):
    """y = v = alpha eps - sigma x_0 (Salimans & Ho, 2202.00512), fine at SNR 0.

    The division by alpha^2 + sigma^2 is 1 for variance-preserving schedules and makes the
    formula right for all others.
    """

    def target(self, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return like(alpha, x0) * eps - like(sigma, x0) * x0

    def recover_x0(self, y: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        norm = like(alpha**2 + sigma**2, x_t)
        return (like(alpha, x_t) * x_t - like(sigma, x_t) * y) / norm

    def error_scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / (alpha**2 + sigma**2)


class FlowVelocity(Target):
    """y = eps - x_0: the velocity of the straight path (2210.02747, 2209.03003)."""

    def target(self, x0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return eps - x0

    def recover_x0(self, y: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        return (x_t - like(sigma, x_t) * y) / like(alpha + sigma, x_t)

    def error_scale(self, alpha: Tensor, sigma: Tensor) -> Tensor:
        return sigma / (alpha + sigma)


TARGETS: dict[str, Target] = {
    "x0": CleanImage(),
    "eps": Noise(),
    "v": Velocity(),
    "flow": FlowVelocity(),
}
