from __future__ import annotations

import pytest
import torch
from bilingual import TEXTS, WIDTH
from torch import nn

from sfumato.conditioning.prompted import Prompted, Told
from sfumato.diffusion import TARGETS, Denoiser, Flow
from sfumato.diffusion.loss import DiffusionLoss
from sfumato.networks.patch_transformer import PatchTransformer
from sfumato.training.objective import Captions, Diffusion


class Recorder(nn.Module):
    """A network that keeps what it was told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def forward(self, x, time, condition):
        self.told.append(condition)
        return x * 0 + condition.vector.mean()


@pytest.fixture
def prompted(conditioner):
    torch.manual_seed(1)
    network = PatchTransformer(1, 8, 4, 16, 1, 1, condition_width=WIDTH)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return Prompted(network, conditioner)


X = torch.linspace(-1, 1, 3 * 64).reshape(3, 1, 8, 8)
TIME = torch.tensor([1.0, 500.0, 999.0])
PROMPTS = ["red heart", "ёжик", "grinning face with big eyes"]
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def test_kept_prompts_are_the_conditional_path_and_dropped_ones_the_null(prompted):
    # mistake 7, ends of the rate: drop = 0 and drop = 1
    ids = prompted.conditioner.ids(PROMPTS)
    conditional = prompted(X, TIME, prompted.conditioner(ids))
    unconditional = prompted(X, TIME, prompted.conditioner.null(3))
    assert (conditional - unconditional).abs().amax((1, 2, 3)).min() > 1e-4
    for keep in ([True] * 3, [False] * 3, [True, False, True], [False, True, False]):
        output = prompted(X, TIME, Told(ids, torch.tensor(keep)))
        expected = [(conditional if kept else unconditional)[i] for i, kept in enumerate(keep)]
        torch.testing.assert_close(output, torch.stack(expected), **CLOSE)


def test_the_empty_prompt_is_the_null_path(prompted):
    conditioner = prompted.conditioner
    empty = prompted(X, TIME, conditioner(conditioner.ids([""] * 3)))
    torch.testing.assert_close(empty, prompted(X, TIME, conditioner.null(3)), **CLOSE)


@pytest.mark.parametrize("training", [True, False])
def test_a_ready_condition_is_never_dropped(prompted, training):
    # what generation passes is obeyed, whatever mode the module is in
    prompted.train(training)
    condition = prompted.conditioner(prompted.conditioner.ids(PROMPTS))
    expected = prompted.network(X, TIME, condition)
    for _ in range(20):
        assert torch.equal(prompted(X, TIME, condition), expected)


def test_guided_batches_are_told_as_their_halves(prompted):
    conditioner = prompted.conditioner
    condition, null = conditioner(conditioner.ids(PROMPTS)), conditioner.null(3)
    both = prompted(torch.cat([X, X]), torch.cat([TIME, TIME]), condition.joined(null))
    halves = [prompted(X, TIME, condition), prompted(X, TIME, null)]
    torch.testing.assert_close(both, torch.cat(halves), **CLOSE)


def test_the_encoder_and_the_null_learn_together(prompted):
    ids = prompted.conditioner.ids(PROMPTS)
    prompted(X, TIME, Told(ids, torch.tensor([True, False, True]))).square().sum().backward()
    idle = [
        name
        for name, p in prompted.conditioner.named_parameters()
        if p.grad is None or not p.grad.any()
    ]
    assert idle == []


def training_of(conditioner, drop, seed=0):
    """One picture with one caption, and a network that only records."""
    prompted = Prompted(Recorder(), conditioner)
    ids = conditioner.ids(["red heart"])
    return prompted.network, Diffusion(
        prompted,
        lambda positions: torch.zeros(len(positions), 1, 2, 2),
        Captions(ids, torch.tensor([0, 1])),
        1,
        DiffusionLoss(Denoiser(prompted, Flow(), TARGETS["flow"])),
        drop,
        seed,
    )


def dropped(conditioner, recorder):
    """Which samples of the recorded batches were told nothing."""
    null = conditioner.null(1).vector[0]
    return torch.cat([(told.vector == null).all(1) for told in recorder.told])


@pytest.mark.parametrize(("rate", "count"), [(0.1, 4000), (0.5, 2000)])
def test_the_stated_share_is_dropped_sample_by_sample(conditioner, rate, count):
    # mistake 7: the rate is measured, and batches are neither dropped nor kept as a whole
    recorder, objective = training_of(conditioner, rate)
    with torch.no_grad():
        for first in range(0, count, 500):
            objective.loss(objective.module, range(first, first + 500))
    which = dropped(conditioner, recorder)
    share = which.float().mean().item()
    assert abs(share - rate) < 4 * (rate * (1 - rate) / count) ** 0.5
    by_batch = which.reshape(-1, 50).float().mean(1)
    assert by_batch.max() < min(1, 4 * rate)
    # neighbours are dropped independently of each other
    pairs = (which[1:] & which[:-1]).float().mean().item()
    assert abs(pairs - rate**2) < 5 * rate / count**0.5


@pytest.mark.parametrize(("rate", "expected"), [(0.0, False), (1.0, True)])
def test_nothing_or_everything_is_dropped(conditioner, rate, expected):
    recorder, objective = training_of(conditioner, rate)
    objective.loss(objective.module, range(200))
    assert dropped(conditioner, recorder).tolist() == [expected] * 200


def test_dropping_belongs_to_the_sample_not_to_the_batch(conditioner):
    recorder, objective = training_of(conditioner, 0.3)
    objective.loss(objective.module, range(64))
    for first in range(0, 64, 16):
        objective.loss(objective.module, range(first, first + 16))
    which = dropped(conditioner, recorder)
    assert which[:64].tolist() == which[64:].tolist()
    assert 0 < which[:64].sum() < 64


def test_another_seed_drops_others(conditioner):
    marks = []
    for seed in (0, 1):
        recorder, objective = training_of(conditioner, 0.5, seed)
        objective.loss(objective.module, range(64))
        marks.append(dropped(conditioner, recorder).tolist())
    assert marks[0] != marks[1]


def test_both_kinds_of_conditioner_say_their_width(conditioner):
    assert conditioner.width == WIDTH == conditioner.null(1).vector.shape[1]
    assert conditioner(conditioner.ids(TEXTS)).vector.shape == (len(TEXTS), WIDTH)
