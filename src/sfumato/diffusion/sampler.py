"""Samplers walk from noise to a picture: a step is (denoiser, state, s) -> state.

A state is a value.  Keep it, edit it, go on from it with another sampler, prompt, guidance or
grid: nothing else is remembered anywhere.  Steps take the time they leave and the time they
reach, (t, s), explicitly, so a wrong "previous time" cannot be computed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sfumato.diffusion.denoiser import Denoises
from sfumato.diffusion.randomness import normal
from sfumato.diffusion.schedule import Schedule
from sfumato.diffusion.state import State, Step
from sfumato.diffusion.target import like, noise_in

SAME_TIME = 1e-9
"""Times nearer than this are the same: the thirtieth of a grid of 100 and the third of one of
10 may differ by a rounding error, and a step of that length would spoil a multistep history."""


class Sampler(ABC):
    """One step of a walk."""

    @abstractmethod
    def step(self, denoiser: Denoises, state: State, s: float, condition: Any = None) -> State:
        """From ``state.t`` down to time s."""


@dataclass(frozen=True, eq=False)
class Levels:
    """(alpha, sigma) at both ends of a step, and the noise between them, float64.

    All are () for ordinary pictures and (1, 1, N) for packed pyramids.
    """

    alpha_t: Tensor
    sigma_t: Tensor
    alpha_s: Tensor
    sigma_s: Tensor

    @classmethod
    def between(cls, schedule: Schedule, t: float, s: float) -> Levels:
        """The levels at times t and s; raises ValueError unless 0 <= s < t <= 1."""
        if not 0 <= s < t <= 1:
            raise ValueError(f"a step must go down in time within [0, 1], not from {t} to {s}")
        return cls(*schedule(t), *schedule(s))

    @property
    def transition(self) -> tuple[Tensor, Tensor]:
        """q(x_t | x_s) = N(a x_s, b I): a = alpha_t / alpha_s, b = sigma_t^2 - a^2 sigma_s^2."""
        a = self.alpha_t / self.alpha_s
        return a, self.sigma_t**2 - a**2 * self.sigma_s**2

    @property
    def posterior_variance(self) -> Tensor:
        """Of q(x_s | x_t, x_0): beta-tilde of 2006.11239, eq. 7; zero at s = 0."""
        return self.transition[1] * self.sigma_s**2 / self.sigma_t**2


def _guess(denoiser: Denoises, state: State, condition: Any) -> tuple[Tensor, State]:
    """The guess at the state, and the state that has paid for and remembers it."""
    t = torch.tensor(state.t, dtype=torch.float64)
    x0 = denoiser(state.x, t, condition)
    paid = state.evaluations + denoiser.calls(t)
    return x0, replace(state, x0=x0, evaluations=paid, memory=(state.t, x0))


def _arrive(state: State, x: Tensor, s: float) -> State:
    return replace(state, x=x, t=s, index=state.index + 1)


def _fresh_noise(state: State) -> Tensor:
    return normal(state.x.shape[1:], state.samples, state.seed, "step", state.index).to(state.x)


@dataclass(frozen=True)
class DDPM(Sampler):
    """Ancestral sampling from q(x_s | x_t, x0_hat) (2006.11239, eqs. 6-7 and algorithm 2).

    Written for any two times and any schedule, so the steps of a short grid are exact too.

    Args:
        variance: "posterior" is the paper's beta-tilde: right for data that are one point.
            "beta" is the variance of the forward step, right for data of unit variance; its
            factor of total variances, 1 for variance-preserving schedules, brings it to the
            scale of x_s for all others.  No noise is added when s = 0.
    Raises:
        ValueError: for another variance.
    """

    variance: str = "posterior"

    def __post_init__(self) -> None:
        if self.variance not in ("posterior", "beta"):
            raise ValueError(f"variance must be 'posterior' or 'beta', not {self.variance!r}")

    def step(self, denoiser: Denoises, state: State, s: float, condition: Any = None) -> State:
        at = Levels.between(denoiser.schedule, state.t, s)
        x0, state = _guess(denoiser, state, condition)
        a, b = at.transition
        keep = a * at.sigma_s**2 / at.sigma_t**2
        x = like(keep, x0) * state.x + like(at.alpha_s * b / at.sigma_t**2, x0) * x0
        if s > 0:
            variance = at.posterior_variance
            if self.variance == "beta":
                total_t, total_s = at.alpha_t**2 + at.sigma_t**2, at.alpha_s**2 + at.sigma_s**2
                variance = b * total_s / total_t
            x = x + like(variance.sqrt(), x0) * _fresh_noise(state)
        return _arrive(state, x, s)


@dataclass(frozen=True)
class DDIM(Sampler):
    """Song 2021, 2010.02502, eqs. 12 and 16; eta = 0 is deterministic, 1 ancestral.

    The noise direction is re-derived from the guess, so clipped or guided guesses stay
    consistent with x_t.

    Raises:
        ValueError: for eta outside [0, 1].
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], not {self.eta}")

    def step(self, denoiser: Denoises, state: State, s: float, condition: Any = None) -> State:
        at = Levels.between(denoiser.schedule, state.t, s)
        x0, state = _guess(denoiser, state, condition)
        eps = noise_in(state.x, x0, at.alpha_t, at.sigma_t)
        fresh = self.eta**2 * at.posterior_variance
        rest = (at.sigma_s**2 - fresh).clamp(min=0).sqrt()
        x = like(at.alpha_s, x0) * x0 + like(rest, x0) * eps
        if self.eta > 0 and s > 0:
            x = x + like(fresh.sqrt(), x0) * _fresh_noise(state)
        return _arrive(state, x, s)


@dataclass(frozen=True)
class Euler(Sampler):
    """Euler's method on the probability-flow equation in flow coordinates.

    With tau = sigma / (alpha + sigma) and z = x / (alpha + sigma) every schedule becomes the
    straight path z = (1 - tau) x_0 + tau eps, whose equation is dz/dtau = eps - x_0; both ends
    are finite.  (The same first-order walk as DDIM with eta = 0, reached from the other side.)
    """

    def step(self, denoiser: Denoises, state: State, s: float, condition: Any = None) -> State:
        at = Levels.between(denoiser.schedule, state.t, s)
        x0, state = _guess(denoiser, state, condition)
        z, tau_t, tau_s, norm_s = _flow_coordinates(state.x, at)
        return _arrive(state, like(norm_s, z) * _straight(z, x0, tau_t, tau_s), s)


@dataclass(frozen=True)
class Heun(Sampler):
    """Heun's second-order method in flow coordinates (EDM, 2206.00364, algorithm 1).

    Two evaluations a step, one for the last: n steps cost 2 n - 1.
    """

    def step(self, denoiser: Denoises, state: State, s: float, condition: Any = None) -> State:
        at = Levels.between(denoiser.schedule, state.t, s)
        x0, state = _guess(denoiser, state, condition)
        z, tau_t, tau_s, norm_s = _flow_coordinates(state.x, at)
        z_s = _straight(z, x0, tau_t, tau_s)
        if s > 0:
            trial = replace(state, x=like(norm_s, z) * z_s, t=s)
            x0_s, trial = _guess(denoiser, trial, condition)
            slope = (_slope(z, x0, tau_t) + _slope(z_s, x0_s, tau_s)) / 2
            z_s = z + like(tau_s - tau_t, z) * slope
            state = replace(state, evaluations=trial.evaluations)
        return _arrive(state, like(norm_s, z) * z_s, s)


def _flow_coordinates(x: Tensor, at: Levels) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(z, tau_t, tau_s, alpha_s + sigma_s)."""
    norm_t, norm_s = at.alpha_t + at.sigma_t, at.alpha_s + at.sigma_s
    return x / like(norm_t, x), at.sigma_t / norm_t, at.sigma_s / norm_s, norm_s


def _slope(z: Tensor, x0: Tensor, tau: Tensor) -> Tensor:
    """dz/dtau = eps - x_0 = (z - x_0) / tau."""
    return (z - x0) / like(tau, z)


def _straight(z: Tensor, x0: Tensor, tau_t: Tensor, tau_s: Tensor) -> Tensor:
    """z + (tau_s - tau_t) dz/dtau, arranged so that tau_s = 0 gives x_0 to the last bit."""
    return x0 + like(tau_s / tau_t, z) * (z - x0)


@dataclass(frozen=True)
class DPMSolver2M(Sampler):
    """DPM-Solver++(2M) (2211.01095, algorithm 2): second order at one evaluation a step.

    Extrapolates the guess linearly in lambda = log(alpha / sigma) from the last two steps.
    Where lambda is infinite (the first step of a schedule with alpha = 0, the last with
    sigma = 0) and where no history exists, the step is the first-order one, DDIM.
    """

    def step(self, denoiser: Denoises, state: State, s: float, condition: Any = None) -> State:
        schedule = denoiser.schedule
        at = Levels.between(schedule, state.t, s)
        before = state.memory
        x0, state = _guess(denoiser, state, condition)
        drift = x0
        if before is not None and s > 0 and before[0] > state.t:
            lambda_r, lambda_t, lambda_s = (
                schedule.log_snr(u) / 2 for u in (before[0], state.t, s)
            )
            ratio = (lambda_s - lambda_t) / (lambda_t - lambda_r)  # h / h_last, 0 from infinity
            drift = x0 + like(ratio / 2, x0) * (x0 - before[1])
        scale = at.sigma_s / at.sigma_t
        x = like(scale, x0) * state.x + like(at.alpha_s - scale * at.alpha_t, x0) * drift
        return _arrive(state, x, s)


SAMPLERS: dict[str, Sampler] = {
    "ddpm": DDPM(),
    "ddim": DDIM(),
    "euler": Euler(),
    "heun": Heun(),
    "dpm++2m": DPMSolver2M(),
}


@torch.no_grad()
def sample(
    denoiser: Denoises,
    state: State,
    times: Tensor,
    sampler: Sampler,
    condition: Any = None,
) -> Iterator[Step]:
    """Walk from ``state`` through the remaining times of a grid, yielding every step.

    Args:
        denoiser: its schedule is the schedule of the walk.
        state: from `start`, `noised`, or a kept step.
        times: decreasing (see `grid.grid`); those at or above ``state.t`` are passed over, so
            a walk resumes inside any grid.
        sampler: which step to take; may differ from the one that made the state.
        condition: handed to the denoiser.
    Raises:
        ValueError: when the times below ``state.t`` do not decrease, or leave [0, 1].
    """
    for s in [float(u) for u in times if float(u) < state.t - SAME_TIME]:
        t = state.t
        state = sampler.step(denoiser, state, s, condition)
        assert state.x0 is not None
        yield Step(state.index, t, s, state.x, state.x0, state.evaluations, state)
