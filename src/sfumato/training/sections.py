"""The sections of a training recipe: every field with its type, range and default.

``None`` means "by the law of ``network.size``"; :func:`sfumato.training.law.resolve` fills it.
The models are frozen, know no unknown keys and never coerce (``"5"`` is not 5).
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
# TOML knows arrays only; they may become tuples although everything else is strict.
Interval = Annotated[tuple[Share, Share], Field(strict=False)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Betas = Annotated[tuple[Decay, Decay], Field(strict=False)]
LevelWeights = Annotated[tuple[Rate, ...], Field(strict=False)]

Size = Literal["tiny", "small", "base", "large"]


OPTIONS = {
    "conditioning.encoder": "--text-encoder",
    "conditioning.kind": "--text-encoder",
    "conditioning.template": "--template",
    "data.channels": "--channels",
    "data.resolution": "--resolution",
    "network.levels": "--num-levels",
    "network.name": "--network",
    "network.size": "--size",
    "start.freeze": "--freeze",
    "start.inner": "--init-inner",
    "start.model": "--from",
    "start.take": "--take",
}
"""Of the command line, by which people set a field without knowing what it is called here."""


def told(field: str) -> str:
    """A field's name for both kinds of people: "--num-levels (network.levels)"."""
    return f"{OPTIONS[field]} ({field})" if field in OPTIONS else field


class Section(BaseModel):
    """What all sections share: unknown keys refused, frozen, strict, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(Section):
    """Which pictures, at which side (pixels) and with how many channels (4 = RGBA)."""

    name: str = "emoji"
    resolution: Positive | None = None
    channels: Literal[1, 3, 4] | None = None
    recolour: bool = False  # plainly coloured pictures come a second time, in another colour
    broken_share: Share = 0.5  # more unreadable files than this share stop the training


Part = Literal["autoencoder", "text", "network", "inner"]


def _in_order(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Each once, as listed above: the same parts are the same wish."""
    return tuple(part for part in get_args(Part) if part in parts)


Parts = Annotated[tuple[Part, ...], Field(strict=False), AfterValidator(_in_order)]


class Start(Section):
    """The model whose weights a run begins with, instead of random ones.

    Taken parts come from it; frozen ones do not learn. An autoencoder that is taken learns no more,
    and its latents keep their scale. ``inner`` is a model of a smaller side that becomes the inside
    of a matryoshka; as a frozen part, "inner" is all of a matryoshka but its outermost level.
    """

    model: Annotated[str, Field(min_length=1)] | None = None  # a model, a run, or "embedded"
    inner: Annotated[str, Field(min_length=1)] | None = None  # a model or a run
    take: Parts = ("autoencoder", "text", "network")
    freeze: Parts = ()


WIDEST = {"unet": 4, "tiny-unet": 8, "context-unet": 2, "matryoshka": 4}
"""By how much the widest layer of a U-Net exceeds its width; what is told follows that layer."""


class Network(Section):
    """The network and its one dial, ``size``; explicit numbers override the law."""

    name: Literal[
        "patch-transformer", "patch-unet", "unet", "tiny-unet", "context-unet", "matryoshka"
    ] = "patch-transformer"
    size: Size = "small"
    width: Positive | None = None
    depth: Positive | None = None
    heads: Positive | None = None
    patch: Positive | None = None
    # of matryoshka: sides that are noised and denoised together, each half of the one before
    levels: Annotated[int, Field(ge=1, le=4)] | None = None
    level_weights: LevelWeights = ()  # highest resolution first; none = all the same
    level_power: Annotated[float, Field(ge=0)] = 1.0  # SNR falls by (side / lowest side)^power


TextEncoder = Literal["scratch", "tfidf", "sentence", "t5", "clip"]
FROZEN = ("sentence", "t5", "clip")
"""Encoders that are pretrained and do not learn."""


class Conditioning(Section):
    """What steers the picture. ``auto`` takes captions, else labels, else nothing.

    ``scratch`` learns its words and a transformer, ``tfidf`` which words occur; the others are
    pretrained and stay as they are. Only ``scratch`` has ``layers`` and a ``vocabulary``.
    """

    kind: Literal["auto", "text", "labels", "none"] = "auto"
    encoder: TextEncoder = "scratch"  # of kind "text"
    model: Annotated[str, Field(min_length=1)] | None = None  # folder, package or id; frozen ones
    revision: Annotated[str, Field(min_length=1)] | None = None  # of the id's repository
    template: Annotated[str, Field(pattern=r"\{\}")] | None = None  # around the names of classes
    vocabulary: Positive = 8192
    features: Positive = 128  # terms of "tfidf"
    tokens: Positive | None = None  # most of a prompt; 24, for pretrained encoders 64
    layers: Count = 2
    drop: Share = 0.1  # share of samples that see the learned null (classifier-free guidance)

    @property
    def length(self) -> int:
        """Most tokens of a prompt; pretrained tokenizers cut words into more of them."""
        return self.tokens or (64 if self.encoder in FROZEN else 24)


class Latent(Section):
    """The autoencoder before the network. ``auto`` uses it from 64x64 pixels on."""

    use: Literal["auto"] | bool = "auto"
    factor: Literal[4, 8] = 8
    channels: Positive = 16
    width: Positive = 128
    images: Count = 150_000
    learning_rate: Rate = 2e-3
    batch_size: Positive = 64
    noise: Annotated[float, Field(ge=0)] = 0.05  # std, in units of the latents' own


class Diffusion(Section):
    """The walk from data (t = 0) to noise (t = 1), what is predicted, and which t are trained."""

    schedule: Literal["flow", "cosine", "linear", "scaled-linear"] = "flow"
    chain: Annotated[int, Field(ge=2, le=100_000)] = 1000  # steps T of betas; a flow has none
    target: Literal["auto", "x0", "eps", "v", "flow"] = "auto"
    times: Literal["uniform", "logit-normal"] = "logit-normal"
    time_mean: float = 0.0  # of the logits
    time_std: Rate = 1.0
    weight: Literal["auto", "uniform", "min-snr", "velocity"] = "auto"


class Sampling(Section):
    """Defaults the finished model generates with. A guidance scale of 1 means none."""

    sampler: Literal["ddpm", "ddim", "euler", "heun", "dpm++2m"] = "dpm++2m"
    steps: Positive = 20
    guidance_scale: Annotated[float, Field(ge=0)] = 3.0
    guidance_interval: Interval = (0.05, 0.95)
    guidance_rescale: Share = 0.0
    # keeps the guess among possible pictures; latents have no such bounds
    threshold: Literal["auto", "none", "static", "dynamic"] = "auto"
    grid: Literal["auto", "uniform", "log-snr", "karras"] = "auto"  # times of the steps


class Training(Section):
    """The optimisation. Progress is counted in images, so nothing here depends on the batch.

    ``images``, ``minutes`` and ``target_loss`` all limit the run; the first one reached ends it.
    """

    images: Positive | None = None
    minutes: Rate | None = None
    # of the network, as a line of the log gives it; 0 takes back what was said before
    target_loss: Annotated[float, Field(ge=0)] | None = None
    batch_size: Positive | None = None
    micro_batch: Positive | None = None
    learning_rate: Rate | None = None
    optimizer: Literal["adamw", "muon"] = "muon"
    warmup_images: Count | None = None
    decay_fraction: Share = 0.4
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    betas: Betas = (0.9, 0.95)
    clip: Rate = 1.0
    ema_half_life_images: Rate | None = None
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    device: Annotated[str, Field(min_length=1)] = "auto"
    threads: Positive | None = None  # None = the cores this process may use
    seed: int = 0
    save_every_minutes: Rate = 5.0
    save_every_images: Positive | None = None  # as well, where checkpoints are to be compared
    sample_every_images: Positive = 50_000
    log_every_images: Positive = 2_000
    keep: Positive = 2
    tensorboard: bool = False


class Recipe(Section):
    """Everything that defines a training run, as written to and read from TOML."""

    data: Data = Data()
    start: Start = Start()
    network: Network = Network()
    conditioning: Conditioning = Conditioning()
    latent: Latent = Latent()
    diffusion: Diffusion = Diffusion()
    sampling: Sampling = Sampling()
    training: Training = Training()
