"""The training loop against plain loops, closed forms and itself cut into pieces."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from hypothesis import example, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st
from tiny import same_bits
from torch import Tensor, nn

from sfumato.data.order import indices
from sfumato.errors import SfumatoError
from sfumato.training import checkpoint, processes
from sfumato.training import trainer as module
from sfumato.training.sections import Training
from sfumato.training.trainer import Trainer, learning_rate_at

PICTURES = 13
INPUTS = torch.randn(PICTURES, 3, generator=torch.Generator().manual_seed(1))
ANSWERS = torch.randn(PICTURES, 2, generator=torch.Generator().manual_seed(2))


@dataclass
class Line:
    """Fits a straight line; sick at the global samples named."""

    module: nn.Module
    nan_at: frozenset[int] = frozenset()
    steep_at: frozenset[int] = frozenset()
    seed: int = 5
    asked: list[range] = field(default_factory=list)

    def positions(self, samples: range) -> list[int]:
        return indices(self.seed, samples.start, len(samples), PICTURES)

    def loss(self, model: nn.Module, samples: range) -> tuple[Tensor, Tensor]:
        self.asked.append(samples)
        places = self.positions(samples)
        error = model(INPUTS[places]) - ANSWERS[places]
        sick = torch.tensor([i in self.nan_at for i in samples])
        # finite itself, but not its gradient
        steep = torch.tensor([float(i in self.steep_at) for i in samples])
        root = (steep * error.sum(1)).abs().sqrt() if steep.any() else steep
        loss = error.square().mean(1) + root - root
        return loss.masked_fill(sick, math.nan), torch.tensor(list(samples)) / 1000


def line(**options: object) -> Line:
    torch.manual_seed(0)
    return Line(nn.Linear(3, 2), **options)  # type: ignore[arg-type]


def settings(**changes: object) -> Training:
    given = {
        "batch_size": 4,
        "micro_batch": 4,
        "learning_rate": 0.05,
        "optimizer": "adamw",
        "warmup_images": 8,
        "weight_decay": 0.1,
        "clip": 0.7,
        "ema_half_life_images": 20.0,
        "precision": "fp32",
        "device": "cpu",
    }
    return Training.model_validate({**given, **changes})


def everything(trainer: Trainer) -> dict[str, Tensor]:
    flat, _ = checkpoint.flatten_state(trainer.optimizer.state_dict())
    return {
        **{f"weights/{n}": t.clone() for n, t in trainer.objective.module.state_dict().items()},
        **{f"ema/{n}": t.clone() for n, t in trainer.average.state.items()},
        **{f"optimizer/{n}": t.clone() for n, t in flat.items()},
    }


# ---- a step


def test_twelve_steps_are_those_of_a_plain_loop(tmp_path: Path) -> None:
    objective = line()
    plain = nn.Linear(3, 2)
    plain.load_state_dict(objective.module.state_dict())
    groups = [
        {"params": [plain.weight], "weight_decay": 0.1},
        {"params": [plain.bias], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    history = [{n: p.detach().double().clone() for n, p in plain.named_parameters()}]
    betas: list[float] = []
    trainer = Trainer(objective, settings(), tmp_path, total=48)
    for step in trainer.steps():
        first = step.images_seen - 4
        places = indices(5, first, 4, PICTURES)
        loss = (plain(INPUTS[places]) - ANSWERS[places]).square().mean(1)
        loss.mean().backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.7)
        rate = 0.05 * min(1, (first + 4) / 8) * min(1, (48 - first) / (0.4 * 52))
        for group in adamw.param_groups:
            group["lr"] = rate
        adamw.step()
        adamw.zero_grad()
        history.append({n: p.detach().double().clone() for n, p in plain.named_parameters()})
        betas.append(0.5 ** (4 / min(20, 0.05 * step.images_seen)))

        assert step.learning_rate == pytest.approx(rate)
        assert step.grad_norm == pytest.approx(float(norm), rel=1e-5)
        torch.testing.assert_close(step.loss, loss.detach())
        assert step.shown == tuple(places)
        assert step.t.tolist() == pytest.approx([i / 1000 for i in range(first, first + 4)])
        assert (step.images_seen, step.total, step.phase) == (first + 4, 48, "diffusion")
        assert step.images_per_second > 0 and step.notes == ()
    assert len(betas) == 12
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(objective.module.state_dict()[name], parameter.data)
        # EMA in closed form: every state of the weights counts by what came after it
        shares = [math.prod(betas[i:]) * (1 - (betas[i - 1] if i else 0)) for i in range(13)]
        mean = sum(share * past[name] for share, past in zip(shares, history, strict=True))
        assert math.fsum(shares) == pytest.approx(1)
        torch.testing.assert_close(trainer.average.state[name].double(), mean)


def test_the_first_step_already_counts_in_the_average(tmp_path: Path) -> None:
    """Mistake 6: one step late. After one batch the average has all but forgotten the start."""
    objective = line()
    trainer = Trainer(objective, settings(), tmp_path, total=4)
    before = objective.module.weight.detach().clone()
    list(trainer.steps())
    after = objective.module.weight.detach()
    left = 0.5 ** (4 / (0.05 * 4))
    torch.testing.assert_close(trainer.average.state["weight"], left * before + (1 - left) * after)


def test_gradients_are_clipped_to_the_recipes_norm(tmp_path: Path) -> None:
    objective = line()
    trainer = Trainer(objective, settings(clip=1e-3), tmp_path, total=400)
    norms: list[float] = []
    original = trainer.optimizer.optimizer.step

    def spy(closure: None = None) -> None:
        gradients = [p.grad.flatten() for p in objective.module.parameters()]
        norms.append(float(torch.cat(gradients).norm()))
        original()

    trainer.optimizer.optimizer.step = spy
    step = next(iter(trainer.steps()))
    assert step.grad_norm > 0.1, "the norm told is the one before clipping"
    assert norms == pytest.approx([1e-3], rel=1e-3)


@pytest.mark.parametrize("micro", [1, 2, 3, 5, 12])
def test_accumulation_takes_the_steps_of_the_whole_batch(tmp_path: Path, micro: int) -> None:
    """Mistakes 8 and 13: a loss divided after backward, or other times, would differ."""
    whole, parts = line(), line()
    one = Trainer(whole, settings(batch_size=12, micro_batch=12), tmp_path / "one", total=120)
    cut = Trainer(parts, settings(batch_size=12, micro_batch=micro), tmp_path / "cut", total=120)
    for a, b in zip(one.steps(), cut.steps(), strict=True):
        torch.testing.assert_close(a.loss, b.loss)
        assert torch.equal(a.t, b.t) and a.shown == b.shown
        assert a.grad_norm == pytest.approx(b.grad_norm, rel=1e-5)
    assert [list(r) for r in parts.asked[: -(-12 // micro)]] == [
        list(range(i, min(i + micro, 12))) for i in range(0, 12, micro)
    ]
    for name, tensor in everything(one).items():
        torch.testing.assert_close(everything(cut)[name], tensor, rtol=1e-5, atol=1e-6)


def test_training_ends_at_the_first_whole_batch_that_reaches_the_total(tmp_path: Path) -> None:
    trainer = Trainer(line(), settings(), tmp_path, total=10)
    assert [step.images_seen for step in trainer.steps()] == [4, 8, 12]
    assert list(trainer.steps()) == []


# ---- the learning rate


@given(
    total=st.integers(1, 10**7),
    warmup=st.integers(0, 10**5),
    decay=st.floats(0, 1),
    share=st.floats(0, 1),
)
@example(total=1, warmup=3, decay=0.0, share=0.0)
@example(total=1000, warmup=0, decay=0.0, share=0.5)
@example(total=1000, warmup=0, decay=1.0, share=1.0)
def test_the_learning_rate_rises_stays_and_falls(
    total: int, warmup: int, decay: float, share: float
) -> None:
    law = settings(learning_rate=3.0, warmup_images=warmup, decay_fraction=decay)
    images = round(share * total)
    rate = learning_rate_at(images, total, law)
    assert 0 <= rate <= 3.0
    falling = (1 - decay) * total
    if warmup < images <= falling - 1:
        assert rate == pytest.approx(3.0)
    if images < min(warmup, falling):
        assert rate == pytest.approx(3.0 * images / warmup)
    if images > max(warmup, falling) + 1:
        assert rate == pytest.approx(3.0 * (total - images) / (decay * total), abs=1e-9)
    warm = max(total + 1, warmup)  # a warm-up may be longer than the training
    assert learning_rate_at(warm, total, law) == (0 if decay else 3.0)


def test_the_learning_rate_at_points_known() -> None:
    law = settings(learning_rate=2.0, warmup_images=100, decay_fraction=0.5)
    known = {0: 0, 50: 1, 100: 2, 500: 2, 750: 1, 1000: 0}
    assert {n: learning_rate_at(n, 1000, law) for n in known} == pytest.approx(known)


# ---- steps that are not finite


@pytest.mark.parametrize("kind", ["nan_at", "steep_at"])
def test_a_bad_step_is_skipped_and_said(tmp_path: Path, kind: str) -> None:
    objective = line(**{kind: frozenset({9})})  # in the third batch
    trainer = Trainer(objective, settings(), tmp_path, total=20)
    states, steps = [everything(trainer)], []
    for step in trainer.steps():
        steps.append(step)
        states.append(everything(trainer))
    # either of the two is enough: a loss that is no number, or a gradient without end
    assert math.isfinite(steps[2].grad_norm) == (kind == "nan_at")
    assert bool(steps[2].loss.isfinite().all()) == (kind == "steep_at")
    assert same_bits(states[2], states[3])
    assert all(not same_bits(states[i], states[i + 1]) for i in (0, 1, 3, 4))
    assert [len(step.notes) for step in steps] == [0, 0, 1, 0, 0]
    assert steps[2].notes[0].startswith("At image 12 loss or gradient was not finite")
    # the images of the skipped step are spent: order and schedule go on
    assert [step.images_seen for step in steps] == [4, 8, 12, 16, 20]
    assert trainer.rate_scale == 1 and trainer.bad_steps == 0


def test_three_bad_steps_in_a_row_go_back_to_the_checkpoint(tmp_path: Path) -> None:
    objective = line(nan_at=frozenset({17, 21, 25}))  # batches 5, 6, 7
    trainer = Trainer(objective, settings(decay_fraction=0.0), tmp_path, total=40)
    steps = trainer.steps()
    next(steps), next(steps)
    trainer.save()
    safe = everything(trainer)
    next(steps), next(steps)
    assert not same_bits(safe, everything(trainer))
    fifth, sixth, seventh = next(steps), next(steps), next(steps)
    assert "rate" not in fifth.notes[0] + sixth.notes[0]
    assert "The learning rate is now 0.5 of the recipe's." in seventh.notes[0]
    assert "Weights return to images-000000008." in seventh.notes[0]
    assert same_bits(safe, everything(trainer))
    assert seventh.images_seen == 28
    eighth = next(steps)
    assert eighth.learning_rate == pytest.approx(0.05 / 2)
    assert not same_bits(safe, everything(trainer))


def test_two_bad_steps_and_a_good_one_are_forgiven(tmp_path: Path) -> None:
    bad = frozenset({1, 5, 13, 17, 21})  # batches 1, 2, 4, 5, 6
    trainer = Trainer(line(nan_at=bad), settings(), tmp_path, total=32)
    said = [step.notes for step in trainer.steps()]
    assert [len(notes) for notes in said] == [1, 1, 0, 1, 1, 1, 0, 0]
    assert "0.5" in said[5][0] and "0.5" not in said[1][0]
    assert "return" not in said[5][0], "there is no checkpoint to return to"


def test_a_lower_rate_and_a_count_of_bad_steps_survive_a_resume(tmp_path: Path) -> None:
    bad = frozenset({1, 5, 9, 13})  # four in a row: lowered once, counted once more
    whole = Trainer(line(nan_at=bad), settings(), tmp_path / "whole", total=40)
    rates = [step.learning_rate for step in whole.steps()]
    first = Trainer(line(nan_at=bad), settings(), tmp_path / "cut", total=40)
    for step in first.steps():
        if step.images_seen == 16:
            first.save()
            break
    second = Trainer(line(nan_at=bad), settings(), tmp_path / "cut", total=40, resume=True)
    assert (second.rate_scale, second.bad_steps) == (0.5, 1)
    assert [step.learning_rate for step in second.steps()] == rates[4:]


# ---- fp16: its gradients are scaled, overflow, and must be unscaled before clipping


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Lets a processor train in fp16, which only GPUs do; the list holds the first scale."""
    first = [1024.0]

    def accelerator(device: str, precision: str, some_idle: bool) -> Accelerator:
        AcceleratorState._reset_state()
        made = Accelerator(cpu=True, mixed_precision="no")
        made.state._mixed_precision = "fp16"
        made.native_amp = True
        made.scaler = torch.amp.GradScaler("cpu", init_scale=first[0], growth_interval=10**6)
        return made

    monkeypatch.setattr(module, "accelerator_for", accelerator)
    yield first
    AcceleratorState._reset_state()


def test_clipping_comes_after_unscaling(tmp_path: Path, half: list[float]) -> None:
    """Mistake 13. Clipped while scaled by 1024, every step would shrink to next to nothing."""
    scaled = line()
    trainer = Trainer(scaled, settings(), tmp_path / "half", total=20)
    steps = list(trainer.steps())
    assert trainer.accelerator.scaler.get_scale() == 1024
    AcceleratorState._reset_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "accelerator_for", processes.accelerator_for)
        plain = line()
        norms = [s.grad_norm for s in Trainer(plain, settings(), tmp_path / "f", 20).steps()]
    assert [step.grad_norm for step in steps] == pytest.approx(norms, rel=0.01)
    torch.testing.assert_close(scaled.module.weight, plain.module.weight, rtol=0.02, atol=0.002)


def test_an_overflow_of_fp16_lowers_the_scale_and_not_the_rate(
    tmp_path: Path, half: list[float]
) -> None:
    half[0] = 2.0**40
    trainer = Trainer(line(), settings(), tmp_path, total=200)
    steps = list(trainer.steps())
    overflown = [not math.isfinite(step.grad_norm) for step in steps]
    assert overflown[:5] == [True] * 5 and not any(overflown[40:])
    assert trainer.rate_scale == 1 and not any(step.notes for step in steps)
    assert 1 <= trainer.accelerator.scaler.get_scale() <= 2.0**17
    trainer.save()
    again = Trainer(line(), settings(), tmp_path, total=200, resume=True)
    assert again.accelerator.scaler.get_scale() == trainer.accelerator.scaler.get_scale()


def test_a_loss_that_is_not_a_number_is_bad_in_fp16_too(tmp_path: Path, half: list[float]) -> None:
    bad = frozenset({9, 13, 17})
    trainer = Trainer(line(nan_at=bad), settings(), tmp_path, total=40)
    said = [note for step in trainer.steps() for note in step.notes]
    assert len(said) == 3 and trainer.rate_scale == 0.5


def test_fp16_without_a_gpu_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SfumatoError, match=r"fp16 needs a GPU\. Take"):
        Trainer(line(), settings(precision="fp16"), tmp_path, total=4)


def test_a_second_training_may_have_another_precision(tmp_path: Path) -> None:
    """As in a notebook: Accelerate alone refuses to be asked for two in one process."""
    seen = []
    for number, precision in enumerate(["fp32", "bf16", "fp32"]):
        objective = line()
        trainer = Trainer(objective, settings(precision=precision), tmp_path / str(number), 4)
        next(iter(trainer.steps()))
        seen.append(objective.module(INPUTS).dtype if precision == "fp32" else None)
        assert trainer.accelerator.mixed_precision == {"fp32": "no"}.get(precision, precision)
    assert seen == [torch.float32, None, torch.float32]


# ---- checkpoints


@settings_of(max_examples=20)
@given(cut=st.integers(1, 9), late=st.integers(0, 3))
def test_a_killed_run_resumes_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, cut: int, late: int
) -> None:
    """Mistake 9. Saved after `cut` steps, killed `late` steps later."""
    whole = Trainer(line(), settings(), tmp_path_factory.mktemp("whole"), total=40)
    steps = list(whole.steps())
    folder = tmp_path_factory.mktemp("cut")
    first = Trainer(line(), settings(), folder, total=40)
    for done, _ in enumerate(first.steps(), 1):
        if done == cut:
            first.save()
        if done == min(cut + late, 10):
            break
    torch.manual_seed(99)  # nothing may hang on the global generator
    second = Trainer(line(), settings(), folder, total=40, resume=True)
    assert second.images_seen == 4 * cut and not second.unsaved
    rest = list(second.steps())
    assert same_bits(everything(second), everything(whole))
    assert [s.shown for s in rest] == [s.shown for s in steps[cut:]]
    for mine, theirs in zip(rest, steps[cut:], strict=True):
        assert torch.equal(mine.loss, theirs.loss)
        assert mine.learning_rate == theirs.learning_rate
    if rest:
        assert rest[0].notes[0] == f"Resumed at image {4 * cut}."


def test_resuming_where_nothing_was_saved_begins(tmp_path: Path) -> None:
    trainer = Trainer(line(), settings(), tmp_path / "none", total=8, resume=True)
    assert trainer.images_seen == 0 and trainer.unsaved
    assert [step.notes for step in trainer.steps()] == [(), ()]


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path: Path) -> None:
    trainer = Trainer(line(), settings(), tmp_path, total=12)
    for _ in trainer.steps():
        trainer.save()
    with (tmp_path / "images-000000012" / "ema.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    again = Trainer(line(), settings(), tmp_path, total=12, resume=True)
    assert again.images_seen == 8
    said = next(iter(again.steps())).notes
    assert said[0] == "Resumed at image 8." and "images-000000012" in said[1]


@pytest.mark.parametrize(
    ("changes", "objective", "said"),
    [
        ({"batch_size": 8}, line, "batch_size 4, not 8"),
        ({"seed": 7}, line, "seed 0, not 7"),
        ({}, lambda: Line(nn.Linear(3, 1)), "another network"),
        ({}, lambda: Line(nn.Sequential(nn.Linear(3, 2))), "another network"),
    ],
)
def test_another_training_is_not_resumed(tmp_path, changes, objective, said) -> None:
    trainer = Trainer(line(), settings(), tmp_path, total=8)
    next(iter(trainer.steps()))
    trainer.save()
    with pytest.raises(SfumatoError, match=said):
        Trainer(objective(), settings(**changes), tmp_path, total=8, resume=True)


def test_the_best_score_marks_the_best_and_survives(tmp_path: Path) -> None:
    trainer = Trainer(line(), settings(keep=1), tmp_path, total=100)
    scores = [3.0, 1.0, 2.0, None]
    for step, score in zip(trainer.steps(), scores, strict=False):
        path = trainer.save(score)
        assert path == tmp_path / f"images-{step.images_seen:09d}"
    best = checkpoint.best(tmp_path)
    assert best is not None and best.name == "images-000000008"
    assert (tmp_path / "images-000000016").is_dir()
    assert not (tmp_path / "images-000000004").exists(), "neither best nor newest"
    again = Trainer(line(), settings(keep=1), tmp_path, total=100, resume=True)
    assert again.best_score == 1.0
    next(iter(again.steps()))
    again.save(1.5)
    assert checkpoint.best(tmp_path) == best


def test_a_checkpoint_is_due_after_the_recipes_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    trainer = Trainer(line(), settings(save_every_minutes=2.0), tmp_path, total=8)
    assert not trainer.due()
    now[0] += 119
    assert not trainer.due()
    now[0] += 1
    assert trainer.due()
    trainer.save()
    assert not trainer.due()


def test_unsaved_is_what_no_checkpoint_holds(tmp_path: Path) -> None:
    trainer = Trainer(line(), settings(), tmp_path, total=8)
    for _ in trainer.steps():
        assert trainer.unsaved
        trainer.save()
        assert not trainer.unsaved


# ---- the fixed bank


def test_the_score_is_the_averages_and_touches_nothing(tmp_path: Path) -> None:
    objective = line()
    trainer = Trainer(objective, settings(micro_batch=2), tmp_path, total=40)
    for step in trainer.steps():
        if step.images_seen == 20:
            break
    before = everything(trainer)
    bank = range(1 << 40, (1 << 40) + 7)
    loss, t = trainer.score(bank)
    assert same_bits(before, everything(trainer))
    assert all(p.grad is None for p in objective.module.parameters())
    averaged = nn.Linear(3, 2)
    averaged.load_state_dict(trainer.average.state)
    places = indices(5, bank.start, 7, PICTURES)
    with torch.no_grad():
        known = (averaged(INPUTS[places]) - ANSWERS[places]).square().mean(1)
    torch.testing.assert_close(loss, known)
    assert loss.shape == t.shape == (7,)
    assert max(len(asked) for asked in objective.asked) == 2, "no more at once than in training"


def test_scoring_and_saving_change_no_later_step(tmp_path: Path) -> None:
    class Moody(nn.Module):
        """Behaves otherwise in training, as dropout does."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.line = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.line(x) * (2 if self.training else 1)

    quiet = Trainer(Line(Moody()), settings(), tmp_path / "quiet", total=40)
    list(quiet.steps())
    busy = Trainer(Line(Moody()), settings(), tmp_path / "busy", total=40)
    for _ in busy.steps():
        busy.save(float(busy.score(range(100, 110))[0].mean()))
    assert same_bits(everything(quiet), everything(busy))


def test_a_batch_that_cannot_be_shared_evenly_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = SimpleNamespace(num_processes=3, process_index=0)
    monkeypatch.setattr(module, "accelerator_for", lambda *_: three)
    with pytest.raises(SfumatoError, match="batch of 4 cannot be shared evenly by 3 processes"):
        Trainer(line(), settings(), tmp_path, total=4)


def test_a_kill_before_the_mark_marks_the_best_on_resuming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = Trainer(line(), settings(keep=2), tmp_path, total=100)
    steps = trainer.steps()
    next(steps)
    trainer.save(3.0)
    next(steps)
    monkeypatch.setattr(checkpoint, "mark_best", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        trainer.save(1.0)
    monkeypatch.undo()
    assert checkpoint.best(tmp_path) == tmp_path / "images-000000004"
    Trainer(line(), settings(keep=2), tmp_path, total=100, resume=True)
    assert checkpoint.best(tmp_path) == tmp_path / "images-000000008"
