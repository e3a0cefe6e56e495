"""The fourteen mistakes of `docs/mistakes.md`: one named test for each.

They were found in well-known diffusion code.  The rooms have more tests of the same laws; these
are the ones that must never be lost.
"""

from __future__ import annotations

import ast
import json
import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_training
import torch
from safetensors.torch import load_file
from truths import ANSWERS, FAMILIES

from sfumato.architecture import Vocabulary, build_prompted
from sfumato.conditioning.condition import Condition
from sfumato.conditioning.prompted import Told
from sfumato.data.order import indices as order_indices
from sfumato.diffusion import (
    DDIM,
    DDPM,
    SAMPLERS,
    TARGETS,
    Denoiser,
    DiffusionLoss,
    Flow,
    Guided,
    Heun,
    Mixture,
    cosine,
    grid,
    linear_betas,
    sample,
    start,
)
from sfumato.diffusion.randomness import normal
from sfumato.model import TextToImage
from sfumato.pictures.tensors import to_pictures
from sfumato.training import checkpoint
from sfumato.training.law import resolve
from sfumato.training.recipe import changed
from sfumato.training.sections import Recipe


def can_fail(test: ast.FunctionDef) -> bool:
    """Whether a test has a check, and none that holds by its wording: of a constant, of a tuple,
    or of ~x, which is true for every bool."""
    checks = 0
    for node in ast.walk(test):
        if isinstance(node, ast.Assert):
            empty = isinstance(node.test, ast.Constant | ast.Tuple) or (
                isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Invert)
            )
            if empty:
                return False
            checks += 1
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            checks += name.startswith(("assert_", "check", "raises", "fail"))
            checks += any(word.arg == "check" for word in node.keywords)  # of a subprocess
    return checks > 0


class Noting:
    """A denoiser that notes the times it is asked at, and how many pictures each time."""

    def __init__(self, inner):
        self.inner, self.schedule = inner, inner.schedule
        self.times: list[float] = []
        self.rows: list[int] = []

    def calls(self, t):
        return self.inner.calls(t)

    def __call__(self, x_t, t, condition=None):
        self.times.append(float(t))
        self.rows.append(len(x_t))
        return self.inner(x_t, t, condition)


def gaussian(schedule, mean=0.3, std=0.5):
    return Mixture.gaussian(mean, std, (1, 4, 4), schedule)


def test_mistake_01_wrong_next_time():
    """n = 64 does not divide T = 1000: every step must reach the time that the next one leaves."""
    schedule, n = linear_betas(), 64
    times = grid(n, schedule)
    np.testing.assert_allclose(times, [(n - k) / n for k in range(n + 1)], atol=1e-15)
    for sampler in (DDIM(), DDPM(), DDIM(1.0)):
        noting = Noting(gaussian(schedule))
        state = start((1, 4, 4), [0], 0)
        # DDIM by the book (2010.02502, eq. 12), the next time looked up in the grid
        for k, step in enumerate(sample(noting, state, times, sampler)):
            t, s = float(times[k]), float(times[k + 1])
            assert (step.t, step.s) == (t, s) and noting.times[-1] == t
            a_t, a_s = (float(schedule(u)[0]) ** 2 for u in (t, s))
            eta = getattr(sampler, "eta", 1.0)
            sig = eta * math.sqrt((1 - a_s) / (1 - a_t) * (1 - a_t / a_s))
            eps = (state.x - math.sqrt(a_t) * step.x0) / math.sqrt(1 - a_t)
            expected = math.sqrt(a_s) * step.x0 + math.sqrt(max(0, 1 - a_s - sig**2)) * eps
            expected = expected + sig * normal((1, 4, 4), [0], 0, "step", k)
            torch.testing.assert_close(step.x, expected, atol=1e-4, rtol=1e-4)
            state = step.state
        assert k == n - 1


@pytest.mark.parametrize("spacing", ["uniform", "log-snr", "karras"])
@pytest.mark.parametrize("name", SAMPLERS)
def test_mistake_02_ends_of_time(name, spacing):
    """First time 1, last time 0, strictly down; the last step returns the guess; 2n - 1."""
    for family, schedule in FAMILIES.items():
        for n in (1, 2, 13):
            times = grid(n, schedule, spacing)
            assert len(times) == n + 1 and times[0] == 1 and times[-1] == 0, family
            assert bool((times.diff() < 0).all()), family
            noting = Noting(gaussian(schedule))
            *_, step = sample(noting, start((1, 4, 4), [0], 0), times, SAMPLERS[name])
            assert len(noting.times) == step.evaluations == (2 * n - 1 if name == "heun" else n)
            assert noting.times[0] == 1 and min(noting.times) > 0
            if name == "ddpm":  # its sum of two terms rounds, but nothing is drawn
                torch.testing.assert_close(step.x, step.x0, atol=1e-6, rtol=1e-6)
            else:
                assert torch.equal(step.x, step.x0)


def test_mistake_03_tests_that_cannot_fail():
    """Every test can fail in its wording, and the oracles are seen to fail on broken code."""
    for path in sorted(Path(__file__).parent.rglob("test_*.py")):
        for test in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                assert can_fail(test), f"{path.name}: {test.name} checks nothing"

    class Late:
        """A denoiser with a classic bug inside: it takes every time for half of it."""

        schedule = cosine()

        def calls(self, t):
            return 1

        def __call__(self, x_t, t, condition=None):
            return exact(x_t, t / 2)

    def ends(denoiser):
        *_, step = sample(denoiser, start((1, 64, 64), [0], 0), grid(40, cosine()), Heun())
        return float(step.x.mean()), float(step.x.std())

    exact = Mixture.gaussian(0.7, 0.3, (1, 64, 64), cosine())
    assert ends(exact) == pytest.approx((0.7, 0.3), abs=0.02)
    assert ends(Late()) != pytest.approx((0.7, 0.3), abs=0.02)
    # a loss fed with other noise than its target's is far from 0
    x0 = normal((1, 4, 4), range(4), 0, "pictures")
    other = normal((1, 4, 4), range(4), 0, "other noise")
    t = torch.full((4,), 0.5, dtype=torch.float64)
    wrong = DiffusionLoss(Denoiser(lambda x, time, c: other, cosine(), TARGETS["eps"]))
    assert float(wrong.at(x0, normal((1, 4, 4), range(4), 0, "noise"), t).min()) > 0.5


@pytest.mark.parametrize("law", ["uniform", "logit-normal"])
@pytest.mark.parametrize("weight", ["uniform", "min-snr", "velocity"])
@pytest.mark.parametrize("kind", TARGETS)
def test_mistake_04_noise_in_x_t_differs_from_the_noise_in_the_target(kind, weight, law):
    """A network that finds the noise in what it is shown must cost nothing."""
    x0 = normal((2, 3, 4), range(6), 0, "pictures").double()
    for family, schedule in FAMILIES.items():

        def network(x, time, condition, schedule=schedule):
            levels = schedule(time.double() / 1000)
            alpha, sigma = (level.reshape(-1, 1, 1, 1) for level in levels)
            x_t = x * (alpha**2 + sigma**2).sqrt()
            return ANSWERS[kind](x0, (x_t - alpha * x0) / sigma, alpha, sigma)

        loss = DiffusionLoss(
            Denoiser(network, schedule, TARGETS[kind]), times=law, weight=weight, seed=4
        )
        values, _ = loss(x0, range(6))
        assert float(values.max()) < 1e-7, family
        # and whatever is predicted converts into everything else and back
        x_t = 0.6 * x0 + 0.8 * x0.flip(0)
        alpha, sigma = torch.full((6,), 0.6), torch.full((6,), 0.8)
        y = ANSWERS[kind](x0, x0.flip(0), 0.6, 0.8)
        for other in TARGETS.values():
            there = other.target(*TARGETS[kind].recover(y, x_t, alpha, sigma), alpha, sigma)
            back = TARGETS[kind].target(*other.recover(there, x_t, alpha, sigma), alpha, sigma)
            torch.testing.assert_close(back, y, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("shape", [(5, 2, 3, 4), (4, 3, 4, 4), (3, 3, 3, 3)])
@pytest.mark.parametrize("kind", TARGETS)
def test_mistake_05_broadcast_of_t(kind, shape):
    """Scalar t = full t, and a batch = its pictures one by one, also where B = W."""
    schedule, batch = cosine(), shape[0]

    def network(x, time, condition):
        return x * (time / 300).sin().reshape(-1, 1, 1, 1)

    denoiser = Denoiser(network, schedule, TARGETS[kind], 0.5)
    loss = DiffusionLoss(denoiser, weight="min-snr")
    x0, eps = (normal(shape[1:], range(batch), 0, word) for word in ("x0", "eps"))
    half = torch.tensor(0.5, dtype=torch.float64)
    torch.testing.assert_close(denoiser(x0, half), denoiser(x0, half.expand(batch)))
    torch.testing.assert_close(loss.at(x0, eps, half), loss.at(x0, eps, half.expand(batch)))
    t = torch.linspace(0.1, 0.9, batch, dtype=torch.float64)
    together, losses = denoiser(x0, t), loss.at(x0, eps, t)
    for i in range(batch):
        one = slice(i, i + 1)
        torch.testing.assert_close(together[one], denoiser(x0[one], t[i]))
        torch.testing.assert_close(losses[one], loss.at(x0[one], eps[one], t[one]))


def test_mistake_06_average_of_the_weights(tmp_path):
    """The average equals its closed form, in float32, is what is judged and kept, and gives the
    weights back to the last bit."""
    trainer = tiny_training.trainer(tmp_path)
    module = trainer.objective.module
    history = [tiny_training.weights(module)]
    walk = trainer.steps()
    for _ in range(30):
        next(walk)
        history.append(tiny_training.weights(module))
    # beta_k = 0.5^(8 / min(50, 0.05 * 8k)) after step k, the first average being the start
    betas = [0.5 ** (8 / min(50.0, 0.4 * k)) for k in range(1, 31)]
    assert betas[0] > 0
    for name, average in trainer.average.state.items():
        expected = history[0][name].double()
        for beta, after in zip(betas, history[1:], strict=True):
            expected = beta * expected + (1 - beta) * after[name].double()
        assert average.dtype == torch.float32
        torch.testing.assert_close(average.double(), expected, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(average, history[-1][name], atol=1e-6)
    # judged by the average ...
    loss, _ = trainer.score(range(1000, 1016))
    judge = tiny_training.prompted()
    judge.load_state_dict({**tiny_training.weights(module), **trainer.average.state})
    judge.eval()  # conditions are dropped in training only
    with torch.no_grad():
        expected_loss, _ = tiny_training.objective(judge).loss(judge, range(1000, 1016))
    torch.testing.assert_close(loss, expected_loss)
    # ... and the weights are back
    for name, value in module.state_dict().items():
        assert torch.equal(value, history[-1][name])
    trainer.save()
    kept = checkpoint.load_latest(tmp_path)
    assert kept is not None
    for name, average in trainer.average.state.items():
        assert torch.equal(kept.tensors["ema"][name], average)
        assert kept.tensors["ema"][name].dtype == torch.float32


class Heard(torch.nn.Module):
    """Stands where the network stands and notes what it is told."""

    def __init__(self):
        super().__init__()
        self.told: list[Told | Condition] = []
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, time, told):
        self.told.append(told)
        return x * self.weight


def test_mistake_07_condition_dropout():
    """Dropped sample by sample at the stated rate, while training only; no guidance = one call."""
    heard = Heard()
    objective = tiny_training.objective(heard, drop=0.1)
    for first in range(0, 6000, 60):
        objective.loss(heard, range(first, first + 60))
    keep = torch.stack([told.keep for told in heard.told])
    rate = float((~keep).double().mean())
    assert rate == pytest.approx(0.1, abs=0.012)  # three standard errors
    mixed = (keep.any(1) & ~keep.all(1)).double().mean()
    assert float(mixed) > 0.95  # within nearly every batch some are dropped and some are not
    # drop = 1 is the null path, drop = 0 the conditional one
    module = tiny_training.prompted()
    x, time = normal((1, 8, 8), range(4), 0, "x"), torch.full((4,), 500.0)
    ids, conditioner = torch.tensor([[0], [1], [2], [0]]), module.conditioner
    with torch.no_grad():
        alone = module(x, time, conditioner.null(4))
        told = module(x, time, conditioner(ids))
        keep = torch.tensor([True, False, True, False])
        torch.testing.assert_close(module(x, time, Told(ids, torch.zeros(4) > 0)), alone)
        torch.testing.assert_close(module(x, time, Told(ids, torch.ones(4) > 0)), told)
        mixture = torch.where(keep.reshape(4, 1, 1, 1), told, alone)
        torch.testing.assert_close(module(x, time, Told(ids, keep)), mixture)
    assert float((told - alone).abs().max()) > 1e-3
    # guidance: 1 is the conditional guess at one call a step, 0 the unconditional one
    denoiser = Denoiser(module, Flow(), TARGETS["flow"])
    t = torch.tensor(0.5, dtype=torch.float64)
    condition, null = conditioner(ids), conditioner.null(4)
    noting = Noting(denoiser)
    with torch.no_grad():
        assert torch.equal(Guided(noting, null, 1.0)(x, t, condition), denoiser(x, t, condition))
        assert noting.rows == [4]
        torch.testing.assert_close(
            Guided(denoiser, null, 0.0)(x, t, condition), denoiser(x, t, null)
        )


def test_mistake_07_no_dropout_when_sampling(monkeypatch):
    """The sampler's conditions are whole, and the same at every step."""
    model = tiny_model(drop=1.0)  # a training that always drops must not touch sampling
    seen = []
    network = model.prompted.network
    forward = network.forward
    monkeypatch.setattr(
        network, "forward", lambda x, time, told: seen.append(told) or forward(x, time, told)
    )
    model.generate(["disc", "star"], steps=4, guidance_scale=1.0)
    assert len(seen) == 4  # one call a step, both pictures together
    for told in seen:
        assert torch.equal(told.vector, model.condition(["disc", "star"]).vector)
        assert not torch.equal(told.vector, model.condition(["", ""]).vector)


def tiny_model(**conditioning):
    recipe = resolve(
        changed(
            Recipe(),
            network={"width": 32, "depth": 2, "heads": 1, "patch": 4},
            conditioning={"kind": "labels", **conditioning},
            latent={"use": False},
        ),
        channels=1,
        resolution=8,
    )
    torch.manual_seed(0)
    module = build_prompted(recipe, Vocabulary(classes=tuple(tiny_training.CLASSES)))
    tiny_training.wake(module)
    return TextToImage(recipe, module)


def ranks(folder: Path, processes: int, steps: int, micro_batch: int, *more: str) -> list[dict]:
    """A real training with so many processes; what every rank ended with."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = [sys.executable, tiny_training.__file__, str(folder), str(steps)]
    script += [str(micro_batch), *more]
    running = []
    for rank in range(processes):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "OMP_NUM_THREADS": "1",
        }
        if processes > 1:
            environment |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "ACCELERATE_USE_CPU": "true",
            }
        running.append(subprocess.Popen(script, env=environment))
    assert [process.wait(300) for process in running] == [0] * processes
    return [load_file(folder / f"rank-{rank}.safetensors") for rank in range(processes)]


@pytest.mark.slow
def test_mistake_08_seeds_across_processes_for_real(tmp_path):
    """Two gloo processes with half the batch each take the steps of one process."""
    (one,) = ranks(tmp_path / "one", 1, 6, 8)
    two = ranks(tmp_path / "two", 2, 6, 4)
    assert [int(rank["processes"]) for rank in two] == [2, 2]
    assert torch.equal(two[0]["t"], one["t"])  # gathered: all ranks, in the order of one
    torch.testing.assert_close(two[0]["loss"], one["loss"], atol=1e-5, rtol=1e-4)
    # each rank saw its own half of the pictures, together those of one process
    halves = torch.cat([rank["asked"].reshape(6, 4) for rank in two], 1)
    assert torch.equal(halves.flatten(), one["asked"])
    for name in one:
        if name not in ("t", "loss", "asked", "processes"):
            assert torch.equal(two[0][name], two[1][name])
            torch.testing.assert_close(two[0][name], one[name], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_two_processes_train_what_reads_no_tokens(tmp_path):
    """The parts of the text encoder that make tokens get no gradient, and nobody waits for it."""
    (one,) = ranks(tmp_path / "one", 1, 3, 8, "context")
    two = ranks(tmp_path / "two", 2, 3, 2, "context")
    for name in one:
        if name not in ("t", "loss", "asked", "processes"):
            assert torch.equal(two[0][name], two[1][name])
            torch.testing.assert_close(two[0][name], one[name], atol=1e-5, rtol=1e-4)


def test_mistake_08_seeds_across_processes(tmp_path):
    """2 ranks x B/2 = 1 rank x B, and k x B/k = B: times and noise belong to the sample."""
    module = tiny_training.prompted()
    objective = tiny_training.objective(module)
    loss, t = objective.loss(module, range(80, 96))
    first, second = (objective.loss(module, range(k, k + 8)) for k in (80, 88))
    assert torch.equal(torch.cat([first[1], second[1]]), t)
    torch.testing.assert_close(torch.cat([first[0], second[0]]), loss)
    assert not set(first[1].tolist()) & set(second[1].tolist())  # not the same on every rank
    whole, parts = (
        tiny_training.trainer(tmp_path / str(micro), micro_batch=micro) for micro in (8, 2)
    )
    for _, a, b in zip(range(6), whole.steps(), parts.steps(), strict=False):
        assert torch.equal(a.t, b.t)
        torch.testing.assert_close(a.loss, b.loss, atol=1e-5, rtol=1e-4)
    for (name, a), b in zip(
        whole.objective.module.state_dict().items(),
        parts.objective.module.state_dict().values(),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_mistake_09_resume(tmp_path, optimizer):
    """2N steps = N steps, the end of the process, N steps: every tensor, to the last bit."""
    n = 7  # 56 of the 12 pictures a time: an epoch ends in the middle of a batch

    def run(trainer, steps):
        walk = trainer.steps()
        return [next(walk) for _ in range(steps)]

    straight = tiny_training.trainer(tmp_path / "a", optimizer=optimizer)
    wanted = run(straight, 2 * n)
    straight.save()
    broken = tiny_training.trainer(tmp_path / "b", optimizer=optimizer)
    before = run(broken, n)
    broken.save()
    torch.manual_seed(999)  # the global generator of a new process is another
    resumed = tiny_training.trainer(tmp_path / "b", optimizer=optimizer, resume=True)
    after = run(resumed, n)
    resumed.save()
    for a, b in zip(wanted, before + after, strict=True):
        assert torch.equal(a.t, b.t) and torch.equal(a.loss, b.loss)
        assert (a.images_seen, a.learning_rate, a.grad_norm) == (
            b.images_seen,
            b.learning_rate,
            b.grad_norm,
        )
    # the pictures shown: the same list, and every picture once in each whole epoch
    shown = broken.objective.pictures.asked + resumed.objective.pictures.asked
    assert shown == straight.objective.pictures.asked == order_indices(3, 0, 16 * n, 12)
    for epoch in range(16 * n // 12):
        assert sorted(shown[12 * epoch : 12 * epoch + 12]) == list(range(12))
    assert shown[:12] != shown[12:24]  # every epoch in its own order
    kept_a, kept_b = (checkpoint.load_latest(tmp_path / name) for name in "ab")
    assert kept_a is not None and kept_b is not None
    assert kept_a.tensors.keys() == kept_b.tensors.keys() == {"weights", "ema", "optimizer"}
    for part, tensors in kept_a.tensors.items():
        assert tensors.keys() == kept_b.tensors[part].keys() and tensors
        for name, tensor in tensors.items():
            assert torch.equal(tensor, kept_b.tensors[part][name]), (part, name)
    assert json.dumps(kept_a.state) == json.dumps(kept_b.state)


@pytest.mark.parametrize("channels", [1, 3])
def test_mistake_10_metrics_on_pictures_of_8_bits(channels):
    """What is compared is what a file would hold: rounded to nearest, 256 levels, clipped."""

    def compared_with(x):
        levels = np.stack([np.atleast_3d(np.asarray(picture)) for picture in to_pictures(x)])
        return torch.from_numpy(levels).float().permute(0, 3, 1, 2) / 127.5 - 1

    x = normal((channels, 16, 16), range(3), 0, "pictures")
    compared = compared_with(x)
    levels = (compared.double() + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)
    away = (compared - x.clamp(-1, 1)).abs()
    assert float(away.max()) <= 1 / 255 + 1e-6  # half of one of 255 steps of 2 / 255
    assert float((compared - x.clamp(-1, 1)).mean().abs()) < 4e-4  # to nearest, not downwards
    assert torch.equal(compared_with(compared), compared)


@pytest.mark.parametrize(
    "name", ["patch-transformer", "patch-unet", "unet", "tiny-unet", "context-unet"]
)
def test_mistake_11_zero_init_erased(name, tmp_path):
    """At step 0 the output is 0 and every residual block the identity, in the network as it is
    built and put into a trainer."""
    patch = 2 if name.startswith("patch-") else 1
    heads = {} if name == "context-unet" else {"heads": 2}  # it has no attention
    recipe = resolve(
        changed(
            Recipe(),
            network={"name": name, "width": 32, "depth": 4, "patch": patch, **heads},
            conditioning={"kind": "labels"},
            latent={"use": False},
        ),
        channels=3,
        resolution=8,
    )
    module = build_prompted(recipe, Vocabulary(classes=("a", "b")))
    trainer = tiny_training.Trainer(
        tiny_training.objective(module), tiny_training.trainer(tmp_path).settings, tmp_path, 8
    )
    told = module.conditioner(torch.tensor([[0], [1]]))
    x, time = normal((3, 8, 8), range(2), 0, "x"), torch.tensor([100.0, 900.0])
    changes = []
    blocks = [
        part
        for part in module.network.modules()
        if type(part).__name__.endswith("Block")
        and isinstance(getattr(part, "skip", None), torch.nn.Identity | None)
    ]
    for block in blocks:
        block.register_forward_hook(lambda _, given, out: changes.append((given[0], out)))
    with torch.no_grad():
        assert not trainer.model(x, time, told).any()
    assert len(changes) == len(blocks) >= 4
    for given, out in changes:
        assert given.any() and torch.equal(given, out)
    # the identity is not death: where the zeros are gone, the blocks speak
    tiny_training.wake(module)
    with torch.no_grad():
        assert float(trainer.model(x, time, told).abs().max()) > 1e-3


def test_mistake_12_time_embedding_scale():
    """The sinusoids are given 0..1000, and tell neighbouring times apart."""
    model = tiny_model()
    given, waves = [], []
    embedding = model.prompted.network.time
    embedding.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    embedding.mlp.register_forward_pre_hook(lambda _, args: waves.append(args[0]))
    *_, last = model.stream("disc", steps=10, guidance_scale=1.0)
    assert last.s == 0
    expected = [1000.0 * (10 - k) / 10 for k in range(10)]
    assert [float(time[0]) for time in given] == pytest.approx(expected)
    # 0.1 apart in t: vectors of 128 unit phasors that have turned; at a scale of 1 they would
    # hardly have moved, sqrt(sum of squared angles) = 0.27
    for a, b in zip(waves, waves[1:], strict=False):
        assert float((a - b).norm()) > 5


def test_mistake_13_accumulation_and_clipping(tmp_path):
    """Micro-batches add up to the gradient of the whole batch's mean loss, and it is clipped
    whole, once."""
    reference = tiny_training.prompted()
    loss, _ = tiny_training.objective(reference).loss(reference, range(8))
    loss.mean().backward()
    gradients = {name: p.grad.clone() for name, p in reference.named_parameters()}
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients.values()))
    for micro in (8, 4, 1, 3):
        trainer = tiny_training.trainer(tmp_path / str(micro), micro_batch=micro, clip=norm / 10)
        used = {}

        def step(trainer=trainer, used=used):
            named = trainer.objective.module.named_parameters()
            used.update({name: p.grad.clone() for name, p in named if p.grad is not None})

        trainer.optimizer.step = step
        taken = next(trainer.steps())
        assert taken.grad_norm == pytest.approx(norm, rel=1e-4)
        for name, gradient in gradients.items():
            torch.testing.assert_close(used[name], gradient / 10, atol=1e-6, rtol=1e-3)


def test_mistake_14_guidance_rescale_in_eps_space():
    """The rescale of 2305.08891 is made on the clean picture; on eps it is another formula."""
    schedule, t, w, phi = cosine(), 0.5, 7.0, 0.7
    alpha, sigma = (float(level) for level in schedule(t))
    shape = (1, 64, 64)
    x0, eps = (normal(shape, [0], 0, word) for word in ("x0", "eps"))
    x_t = alpha * x0 + sigma * eps
    conditional = 0.8 * x0 + 0.3 * normal(shape, [0], 0, "conditional")
    unconditional = 0.8 * x0 + 0.3 * normal(shape, [0], 0, "unconditional")

    class Pair:
        def joined(self, other):
            return self

    class Both:
        """Answers both halves of the guided batch."""

        def __init__(self):
            self.schedule = schedule

        def calls(self, t):
            return 1

        def __call__(self, x, t, condition=None):
            return torch.cat([conditional, unconditional])

    found = Guided(Both(), Pair(), w, rescale=phi)(x_t, torch.tensor(t), Pair())

    def rescaled(c, u):
        guided = u + w * (c - u)
        return phi * guided * (c.std() / guided.std()) + (1 - phi) * guided

    in_x0 = rescaled(conditional, unconditional)
    in_eps = rescaled(*((x_t - alpha * guess) / sigma for guess in (conditional, unconditional)))
    in_eps = (x_t - sigma * in_eps) / alpha
    torch.testing.assert_close(found, in_x0, atol=1e-5, rtol=1e-4)
    assert abs(float(in_x0.std() - in_eps.std())) > 0.1
    whole = Guided(Both(), Pair(), w, rescale=1.0)(x_t, torch.tensor(t), Pair())
    assert float(whole.std()) == pytest.approx(float(conditional.std()), rel=1e-5)
