"""AdamW against torch's, Muon against the singular value decomposition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import recipe
from torch import Tensor, nn

from sfumato.architecture import Vocabulary, build_autoencoder, build_prompted
from sfumato.conditioning.text_transformer import learn_tokenizer
from sfumato.training import checkpoint
from sfumato.training.law import resolve
from sfumato.training.optimizer import Optimizer, orthogonalized, parameter_groups


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def matrix(rows: int, columns: int, singular: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A matrix with these singular values, and its polar factor U V^T."""
    k = min(rows, columns)
    u = torch.linalg.qr(random(rows, k, seed=seed).double()).Q
    v = torch.linalg.qr(random(columns, k, seed=seed + 1).double()).Q
    return (u * singular.double() @ v.mT).float(), (u @ v.mT).float()


# ---- AdamW


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.0, 0.5)])
def test_adamw_is_torchs_adamw(decay: float, betas: tuple[float, float]) -> None:
    mine = [random(4, 3), random(5), random(2, 3, 3, 3)]
    theirs = [p.clone() for p in mine]
    one = Optimizer(
        [{"params": mine, "kind": "adamw", "weight_decay": decay}], 1.0, betas, eps=1e-6
    )
    other = torch.optim.AdamW(theirs, 1.0, betas, eps=1e-6, weight_decay=decay)
    for step in range(20):
        for number, (p, q) in enumerate(zip(mine, theirs, strict=True)):
            p.grad = random(*p.shape, seed=100 * step + number) * 10.0 ** (step % 5 - 2)
            q.grad = p.grad.clone()
        for optimizer in (one, other):
            optimizer.param_groups[0]["lr"] = 0.1 / (step + 1)  # set anew, as the trainer does
            optimizer.step()
        for p, q in zip(mine, theirs, strict=True):
            torch.testing.assert_close(p, q, rtol=2e-5, atol=2e-6)


def test_a_parameter_without_a_gradient_stays_and_has_no_state() -> None:
    for kind in ("adamw", "muon"):
        still, moving = random(3, 3), random(3, 3)
        before = still.clone()
        moving.grad = torch.ones(3, 3)
        group = {"params": [still, moving], "kind": kind, "weight_decay": 0.5}
        optimizer = Optimizer([group], 0.1)
        optimizer.step()
        assert torch.equal(still, before) and still not in optimizer.state
        assert moving in optimizer.state


# ---- Muon


@settings(max_examples=30)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    spread=st.floats(1, 20),
    size=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_orthogonalisation_nears_the_polar_factor(rows, columns, spread, size, seed) -> None:
    k = min(rows, columns)
    singular = torch.linspace(1, spread, k) * size
    given_, polar = matrix(rows, columns, singular, seed)
    found = orthogonalized(given_[None])[0]
    values = torch.linalg.svdvals(found)
    assert 0.65 < float(values.min()) and float(values.max()) < 1.25
    cosine = torch.nn.functional.cosine_similarity(found.flatten(), polar.flatten(), 0)
    assert float(cosine) > 0.97
    # no rotation: in the bases of the polar factor only the diagonal is left
    turned = found @ polar.mT if rows <= columns else polar.mT @ found
    torch.testing.assert_close(turned, turned.mT, atol=0.06, rtol=0)


def test_matrices_are_orthogonalised_one_by_one_and_either_way_round() -> None:
    several = random(5, 6, 9)
    together = orthogonalized(several)
    assert together.shape == several.shape and together.dtype == several.dtype
    for one, whole in zip(several, together, strict=True):
        torch.testing.assert_close(orthogonalized(one[None])[0], whole, atol=0.02, rtol=0)
    torch.testing.assert_close(orthogonalized(several.mT), together.mT, atol=0.02, rtol=0)
    # the size of a gradient does not matter, only its direction
    torch.testing.assert_close(orthogonalized(several * 1e4), together, atol=0.03, rtol=0)
    assert torch.equal(orthogonalized(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (32, 128), (128, 32)])
def test_a_step_of_muon_is_as_large_as_one_of_adamw(rows: int, columns: int) -> None:
    """The law of 2502.16982: 0.2 sqrt(longer side), a root-mean-square of 0.2 for full rank."""
    singular = torch.linspace(1, 2, min(rows, columns))
    gradient, polar = matrix(rows, columns, singular)
    p = torch.zeros(rows, columns)
    p.grad = gradient
    Optimizer([{"params": [p], "kind": "muon"}], 0.01).step()
    rms = float(p.square().mean().sqrt()) / 0.01
    assert rms == pytest.approx(0.2, rel=0.25)
    known = -0.01 * 0.2 * max(rows, columns) ** 0.5 * polar
    assert float(nn.functional.cosine_similarity(p.flatten(), known.flatten(), 0)) > 0.98
    assert float(p.norm() / known.norm()) == pytest.approx(1, abs=0.25)


def test_momentum_is_nesterovs() -> None:
    """Two steps of gradients known: the second update looks ahead along the momentum."""
    p = torch.zeros(8, 8)
    first, _ = matrix(8, 8, torch.linspace(1, 3, 8), seed=1)
    second, _ = matrix(8, 8, torch.linspace(1, 3, 8), seed=5)
    optimizer = Optimizer([{"params": [p], "kind": "muon"}], 1.0, momentum=0.9)
    p.grad = first
    optimizer.step()
    before = p.clone()
    p.grad = second
    optimizer.step()
    looked = second + 0.9 * (0.9 * first + second)
    u, _, vh = torch.linalg.svd(looked)
    moved = (before - p).flatten()
    cosine = nn.functional.cosine_similarity
    assert float(cosine(moved, (u @ vh).flatten(), 0)) > 0.97
    plain = torch.linalg.svd(0.9 * first + second)
    wrong = (plain.U @ plain.Vh).flatten()
    assert float(cosine(moved, (u @ vh).flatten(), 0)) > float(cosine(moved, wrong, 0))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_walks_with_torchs_muon() -> None:
    shapes = [(16, 16), (8, 24), (24, 8), (16, 16)]
    mine = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    theirs = [nn.Parameter(p.clone()) for p in mine]
    start = [p.clone() for p in mine]
    one = Optimizer([{"params": mine, "kind": "muon", "weight_decay": 0.1}], 0.02)
    other = torch.optim.Muon(theirs, 0.02, 0.1, 0.95, adjust_lr_fn="match_rms_adamw")
    for step in range(20):
        for number, (p, q) in enumerate(zip(mine, theirs, strict=True)):
            p.grad = random(*p.shape, seed=100 * step + number)
            q.grad = p.grad.clone()
        one.step()
        other.step()
    for p, q, begin in zip(mine, theirs, start, strict=True):
        # both work in bfloat16, so they part by its rounding and no more
        assert float((p - q).detach().norm()) < 0.02 * float((p - begin).norm())


def test_decay_is_decoupled_and_scaled_by_the_rate() -> None:
    p = torch.full((4, 4), 2.0)
    p.grad = torch.zeros(4, 4)
    Optimizer([{"params": [p], "kind": "muon", "weight_decay": 0.5}], 0.1).step()
    assert torch.equal(p, torch.full((4, 4), 2.0 * (1 - 0.1 * 0.5)))


# ---- which parameter learns how


def prompted(name: str, classes: tuple[str, ...] = ()) -> nn.Module:
    chosen = resolve(recipe(network={"name": name}), channels=3, resolution=16)
    words = Vocabulary(classes=classes) if classes else Vocabulary(learn_tokenizer(["a b"], 50))
    return build_prompted(chosen, words)


@pytest.mark.parametrize(
    "name", ["patch-transformer", "patch-unet", "unet", "tiny-unet", "context-unet"]
)
@pytest.mark.parametrize("classes", [(), ("cat", "dog")])
def test_only_hidden_matrices_go_to_muon(name: str, classes: tuple[str, ...]) -> None:
    whole = prompted(name, classes)
    frozen = next(whole.parameters()).requires_grad_(False)
    names = {id(p): n for n, p in whole.named_parameters()}
    groups = parameter_groups(whole, "muon", 0.25)
    members = [id(p) for group in groups for p in group["params"]]
    assert sorted(members) == sorted(names.keys() - {id(frozen)})
    by_hand = {
        n
        for n, m in whole.named_modules()
        if isinstance(m, nn.Linear) and not {"embed", "final"} & set(n.split("."))
    }
    muon = {names[id(p)] for g in groups if g["kind"] == "muon" for p in g["params"]}
    assert muon == {f"{n}.weight" for n in by_hand} - {names[id(frozen)]}
    assert any("context" in n for n in muon)
    assert any("attention" in n for n in muon) or name == "context-unet"
    for group in groups:
        for p in group["params"]:
            assert group["weight_decay"] == (0.25 if p.ndim >= 2 else 0), names[id(p)]


def test_adamw_takes_everything_when_asked() -> None:
    groups = parameter_groups(prompted("patch-transformer"), "adamw", 0.1)
    assert {group["kind"] for group in groups} == {"adamw"}
    assert [group["weight_decay"] for group in groups] == [0.0, 0.1]


def test_the_autoencoders_convolutions_stay_with_adamw() -> None:
    settled = resolve(recipe(latent={"use": True}), channels=3, resolution=16)
    autoencoder = build_autoencoder(settled)
    assert autoencoder is not None
    assert {g["kind"] for g in parameter_groups(autoencoder, "muon", 0.1)} == {"adamw"}


# ---- what a checkpoint keeps


def test_the_state_goes_through_a_checkpoint_to_the_last_bit(tmp_path: Path) -> None:
    def made(shift: float) -> tuple[list[Tensor], Optimizer]:
        parameters = [random(6, 5) + shift, random(5, 6) + shift, random(7) + shift]
        groups = [
            {"params": parameters[:2], "kind": "muon", "weight_decay": 0.1},
            {"params": parameters[2:], "kind": "adamw", "weight_decay": 0.0},
        ]
        return parameters, Optimizer(groups, 0.01, (0.8, 0.9))

    def walk(parameters: list[Tensor], optimizer: Optimizer, steps: range) -> None:
        for step in steps:
            for number, p in enumerate(parameters):
                p.grad = random(*p.shape, seed=10 * step + number)
            optimizer.step()

    mine, one = made(0)
    walk(mine, one, range(7))
    flat, tree = checkpoint.flatten_state(one.state_dict())
    values = {str(i): p for i, p in enumerate(mine)}
    checkpoint.save(tmp_path, "a", {"w": values, "o": flat}, {"tree": tree}, keep=1)
    walk(mine, one, range(7, 12))

    found = checkpoint.load(tmp_path / "a")
    theirs, other = made(1)
    for i, p in enumerate(theirs):
        p.copy_(found.tensors["w"][str(i)])
    other.load_state_dict(checkpoint.unflatten_state(found.tensors["o"], found.state["tree"]))
    walk(theirs, other, range(7, 12))
    for p, q in zip(mine, theirs, strict=True):
        assert torch.equal(p, q)
        assert one.state[p].keys() == other.state[q].keys()
        for name, value in one.state[p].items():
            same = torch.equal if isinstance(value, Tensor) else int.__eq__
            assert same(value, other.state[q][name]), name
