"""The state of a walk, a value: what is kept between two steps, and how a walk begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sfumato.diffusion.randomness import as_indices, normal
from sfumato.diffusion.schedule import Schedule
from sfumato.diffusion.target import like


@dataclass(frozen=True, eq=False)
class State:
    """Where a walk stands.  Change it with `dataclasses.replace`.

    Attributes:
        x: the noisy pictures x_t (B, C, H, W), or packed pyramids (B, C, N).
        t: the time they are at.
        index: steps taken so far.
        evaluations: network evaluations a picture so far.
        samples: global sample indices, which own the noise.
        seed: of the noise that stochastic samplers add.
        x0: the last guess of the clean pictures, None before the first step.
        memory: (time, guess) of the last step, for multistep samplers.
    Raises:
        ValueError: unless there is one sample index a picture.
    """

    x: Tensor
    t: float
    samples: tuple[int, ...]
    seed: int
    index: int = 0
    evaluations: int = 0
    x0: Tensor | None = None
    memory: tuple[float, Tensor] | None = None

    def __post_init__(self) -> None:
        # one index for many pictures would broadcast and give all of them the same noise
        if len(self.samples) != len(self.x):
            raise ValueError(f"{len(self.x)} pictures need as many indices, not {self.samples}")


@dataclass(frozen=True, eq=False)
class Step:
    """What a listener sees of one step, from time t to time s.

    Attributes:
        x: pictures at time s.  x0: the guess made at time t.  Both (B, C, H, W).
        evaluations: network evaluations a picture up to here.
        state: from which the walk can be continued or branched.
    """

    index: int
    t: float
    s: float
    x: Tensor
    x0: Tensor
    evaluations: int
    state: State


def start(shape: Sequence[int], samples: Sequence[int] | Tensor, seed: int) -> State:
    """Pure noise at t = 1 for pictures of the given shape (C, H, W), drawn by sample index.

    The levels of a packed pyramid, shape (C, N), get independent noise.
    """
    indices = tuple(as_indices(samples))
    return State(normal(shape, indices, seed, "start"), 1.0, indices, seed)


def noised(x0: Tensor, schedule: Schedule, t: float, samples: Sequence[int], seed: int) -> State:
    """A given picture (B, C, H, W) carried forward to time t: where image-to-image starts."""
    indices = tuple(as_indices(samples))
    alpha, sigma = schedule(t)
    eps = normal(x0.shape[1:], indices, seed, "start").to(x0)
    return State(like(alpha, x0) * x0 + like(sigma, x0) * eps, t, indices, seed)
