"""The mathematics of diffusion: tensors in, tensors out, nothing else of ours imported."""

from sfumato.diffusion.denoiser import Denoiser, Denoises
from sfumato.diffusion.grid import LOG_SNR_RANGE, grid
from sfumato.diffusion.guidance import Guided, Thresholded
from sfumato.diffusion.loss import DiffusionLoss, time_at, times, weight
from sfumato.diffusion.oracle import Mixture
from sfumato.diffusion.pyramid import LevelSchedule, Pyramid
from sfumato.diffusion.sampler import (
    DDIM,
    DDPM,
    SAMPLERS,
    DPMSolver2M,
    Euler,
    Heun,
    Sampler,
    sample,
)
from sfumato.diffusion.schedule import (
    CHAINS,
    SCHEDULES,
    Betas,
    Flow,
    Schedule,
    cosine,
    linear_betas,
    scaled_linear_betas,
)
from sfumato.diffusion.state import State, Step, noised, start
from sfumato.diffusion.target import TARGETS, Target

__all__ = [
    "LOG_SNR_RANGE",
    "CHAINS",
    "DDIM",
    "DDPM",
    "SAMPLERS",
    "SCHEDULES",
    "TARGETS",
    "Betas",
    "DPMSolver2M",
    "Denoiser",
    "Denoises",
    "DiffusionLoss",
    "Euler",
    "Flow",
    "Guided",
    "Heun",
    "LevelSchedule",
    "Mixture",
    "Pyramid",
    "Sampler",
    "Schedule",
    "State",
    "Step",
    "Target",
    "Thresholded",
    "cosine",
    "grid",
    "linear_betas",
    "noised",
    "sample",
    "scaled_linear_betas",
    "start",
    "time_at",
    "times",
    "weight",
]
