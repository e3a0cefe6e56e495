from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from sfumato.errors import SfumatoError
from sfumato.training import law
from sfumato.training.law import resolve
from sfumato.training.recipe import changed, load_recipe, recipe_of, save_recipe
from sfumato.training.sections import Recipe

TABLE = {
    line.split()[0]: [float(cell.replace(",", "")) for cell in line.split()[1:]]
    for line in (law.__doc__ or "").splitlines()
    if line.split() and line.split()[0] in ("tiny", "small", "base", "large")
}
NETWORKS = ["patch-transformer", "patch-unet", "unet", "tiny-unet", "context-unet"]
UNETS = {
    row[0]: dict(
        zip(
            ["tiny", "small", "base", "large"],
            zip(map(int, row[1::2]), map(int, row[2::2]), strict=True),
            strict=True,
        )
    )
    for line in (law.__doc__ or "").splitlines()
    if len(row := line.split()) == 9 and row[0] in law.UNETS
}


#: What stays open when all else is settled: levels only a matryoshka has, a model of words only
#: some text encoders.
OPEN = {
    "start.model", "start.inner", "network.levels", "training.minutes", "training.threads",
    "training.target_loss", "training.save_every_images", "conditioning.model",
    "conditioning.revision", "conditioning.template",
}  # fmt: skip


def resolved(resolution: int = 64, channels: int = 4, **sections: dict[str, Any]) -> Recipe:
    return resolve(recipe_of(sections), channels=channels, resolution=resolution)


def holes(model: BaseModel) -> set[str]:
    return {
        f"{section}.{field}"
        for section, fields in model.model_dump().items()
        for field, value in fields.items()
        if value is None
    }


texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
counts = st.integers(1, 10**9)
rates = st.floats(1e-9, 1e9)
shares = st.floats(0, 1)
recipe_trees = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries(
            {"name": texts, "broken_share": shares},
            optional={"resolution": counts, "channels": st.sampled_from([1, 3, 4])},
        ),
        "network": st.fixed_dictionaries(
            {"name": st.sampled_from(NETWORKS)},
            optional={"width": counts, "depth": counts, "heads": counts, "patch": counts},
        ),
        "latent": st.fixed_dictionaries(
            {"use": st.sampled_from(["auto", True, False]), "noise": st.floats(0, 1e3)}
        ),
        "diffusion": st.fixed_dictionaries(
            {"time_mean": st.floats(allow_nan=False, allow_infinity=False), "time_std": rates}
        ),
        "sampling": st.fixed_dictionaries({"guidance_interval": st.tuples(shares, shares)}),
        "training": st.fixed_dictionaries(
            {"seed": st.integers(-(2**63), 2**63 - 1), "tensorboard": st.booleans()},
            optional={
                "images": counts,
                "minutes": rates,
                "learning_rate": rates,
                "betas": st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=2),
                "device": texts,
            },
        ),
    },
)


@settings(max_examples=60, deadline=None)
@given(tree=recipe_trees)
def test_what_is_written_is_read_back_exactly(
    tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.toml"
    recipe = recipe_of(tree)
    save_recipe(recipe, path)
    back = load_recipe(path)
    assert back == recipe
    assert repr(back) == repr(recipe)  # also -0.0 against 0.0 and 1 against 1.0


def test_none_is_left_out_of_the_file(tmp_path: Any) -> None:
    save_recipe(Recipe(), tmp_path / "r.toml")
    text = (tmp_path / "r.toml").read_text("utf-8")
    assert "width" not in text.split("[network]")[1].split("[")[0]
    assert 'sampler = "dpm++2m"' in text and "None" not in text


@pytest.mark.parametrize("size", ["tiny", "small", "base", "large"])
def test_each_size_follows_the_published_table(size: str) -> None:
    recipe = resolved(network={"size": size})
    network, training = recipe.network, recipe.training
    assert [
        network.width,
        network.depth,
        network.heads,
        training.batch_size,
        training.learning_rate,
        training.ema_half_life_images,
        training.images,
    ] == TABLE[size]
    assert training.batch_size is not None and training.micro_batch is not None
    assert training.micro_batch == min(training.batch_size, 128)
    assert holes(recipe) == OPEN


@pytest.mark.parametrize("size", ["tiny", "small", "base", "large"])
@pytest.mark.parametrize("name", law.UNETS)
def test_each_unet_follows_its_own_table(name: str, size: str) -> None:
    recipe = resolved(network={"size": size, "name": name})
    network, training = recipe.network, recipe.training
    assert (network.width, network.depth) == UNETS[name][size]
    assert network.heads == max(1, UNETS[name][size][0] // 32) and network.patch == 1
    # what does not belong to the network is that of the size
    assert (training.batch_size, training.images) == (TABLE[size][3], TABLE[size][6])
    # the rate is that of a transformer as wide as the widest layer, on pixels four times that
    width = UNETS[name][size][0] * {"tiny-unet": 8, "context-unet": 2}.get(name, 4)
    wide = resolved(network={"width": width, "size": size}).training.learning_rate
    times = 1 if recipe.latent.use else 4
    assert training.learning_rate == pytest.approx(wide * times, rel=2e-3)  # three digits each


def test_the_tiny_unet_is_the_published_one_where_nothing_is_said() -> None:
    network = resolved(network={"name": "tiny-unet"}).network
    assert (network.width, network.depth, network.heads) == (16, 1, 1)


@pytest.mark.parametrize(
    ("name", "side", "use", "micro"),
    [
        *[("unet", 64, False, 32), ("unet", 128, False, 16), ("unet", 28, False, 64)],
        *[("unet", 64, True, 128), ("tiny-unet", 64, False, 128)],
    ],
)
def test_wide_layers_at_a_large_side_get_small_micro_batches(
    name: str, side: int, use: bool, micro: int
) -> None:
    training = resolved(side, network={"name": name}, latent={"use": use}).training
    assert (training.batch_size, training.micro_batch) == (128, micro)


def test_a_unet_has_no_patches() -> None:
    for name in ("unet", "tiny-unet", "context-unet"):
        with pytest.raises(SfumatoError, match=f"network.patch = 4, but {name} has no patches"):
            resolved(network={"name": name, "patch": 4})


@pytest.mark.parametrize(
    ("name", "side", "use"),
    [
        *[("unet", 64, True), ("unet", 63, False), ("tiny-unet", 64, False)],
        *[("context-unet", 64, False), ("tiny-unet", 32, False)],
    ],
)
def test_which_unets_work_on_latents(name: str, side: int, use: bool) -> None:
    assert resolved(side, network={"name": name}).latent.use is use
    asked = resolved(64, network={"name": name}, latent={"use": True})
    assert asked.latent.use is True


def test_the_learning_rate_follows_width_and_batch() -> None:
    # A quarter of the width and four times the batch: each doubles 1.5e-3 (by the square root).
    assert resolved(network={"width": 64}).training.learning_rate == 3e-3
    assert resolved(training={"batch_size": 512}).training.learning_rate == 3e-3
    # The EMA is a number of steps: four times the batch, four times the images.
    assert resolved(training={"batch_size": 512}).training.ema_half_life_images == 200_000


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from(["tiny", "small", "base", "large"]),
    network=st.sampled_from(NETWORKS),
    use=st.sampled_from(["auto", True, False]),
    side=st.integers(1, 32).map(lambda n: 8 * n),
    batch=st.none() | st.integers(1, 600),
    minutes=st.none() | st.floats(0.01, 600),
    rate=st.none() | st.floats(0.1, 1e4),
)
def test_resolving_twice_changes_nothing(
    size: str,
    network: str,
    use: bool | str,
    side: int,
    batch: int | None,
    minutes: float | None,
    rate: float | None,
) -> None:
    start = recipe_of(
        {
            "network": {"size": size, "name": network},
            "latent": {"use": use},
            "training": {"batch_size": batch, "minutes": minutes},
        }
    )
    if network == "context-unet" and (side // 8 if use is True else side) > 64:
        return  # refused
    once = resolve(start, channels=3, resolution=side, images_per_second=rate)
    assert resolve(once, channels=3, resolution=side, images_per_second=rate) == once
    if once.training.images is not None:  # a rate measured anew does not move a planned run
        assert resolve(once, channels=3, resolution=side, images_per_second=1.0) == once
    assert once.network.patch is not None and once.training.batch_size is not None
    patches = (side // 8 if once.latent.use else side) / once.network.patch
    if network in law.UNETS:
        assert once.network.patch == 1
    else:
        assert patches < 33 and (once.network.patch == 1 or patches >= 7)
    assert once.training.micro_batch is not None
    assert once.training.batch_size % once.training.micro_batch == 0


def test_a_resolved_recipe_is_accepted_back_from_its_file(tmp_path: Any) -> None:
    recipe = resolved(training={"minutes": 3.5})
    save_recipe(recipe, tmp_path / "recipe.toml")
    assert resolve(load_recipe(tmp_path / "recipe.toml"), channels=4, resolution=64) == recipe


def test_stated_numbers_win_over_the_law() -> None:
    stated = {"width": 96, "depth": 3, "heads": 3, "patch": 2}
    training = {
        "images": 7,
        "batch_size": 6,
        "micro_batch": 2,
        "learning_rate": 0.5,
        "ema_half_life_images": 9.0,
    }
    recipe = resolved(network=stated, training=training)
    assert stated.items() <= recipe.network.model_dump().items()
    assert training.items() <= recipe.training.model_dump().items()


def test_minutes_become_images_in_whole_batches_once_a_rate_is_known() -> None:
    recipe = recipe_of({"training": {"minutes": 10.0, "batch_size": 100}})
    assert resolve(recipe, channels=3, resolution=64).training.images is None
    known = resolve(recipe, channels=3, resolution=64, images_per_second=74.3)
    assert known.training.images == 44_500  # 10 * 60 * 74.3 = 44,580
    slow = resolve(recipe, channels=3, resolution=64, images_per_second=0.01)
    assert slow.training.images == 100  # never nothing


@pytest.mark.parametrize(
    ("side", "latent", "patch"),
    [
        *[(64, True, 1), (128, True, 1), (256, True, 2), (512, True, 4)],
        *[(28, False, 4), (32, False, 4), (64, False, 8), (128, False, 16), (8, False, 1)],
        *[(49, False, 7), (37, False, 4), (62, False, 7), (1, False, 1), (384, True, 3)],
    ],
)
def test_patches_of_the_transformer(side: int, latent: bool, patch: int) -> None:
    assert resolved(side, latent={"use": latent}).network.patch == patch


@pytest.mark.parametrize(
    ("side", "patch"), [(64, 4), (128, 8), (32, 2), (28, 2), (16, 1), (30, 2), (3, 1)]
)
def test_patches_of_the_unet(side: int, patch: int) -> None:
    recipe = resolved(side, network={"name": "patch-unet"}, latent={"use": False})
    assert recipe.network.patch == patch


def test_automatic_choices() -> None:
    assert resolved(64).latent.use is True
    assert resolved(63).latent.use is False
    auto = recipe_of({})
    assert resolve(auto, channels=1, resolution=28).conditioning.kind == "auto"
    steered = resolve(auto, channels=1, resolution=28, conditioning="labels")
    assert steered.conditioning.kind == "labels"
    text = recipe_of({"conditioning": {"kind": "text"}})
    kept = resolve(text, channels=1, resolution=28, conditioning="labels")
    assert kept.conditioning.kind == "text"


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"channels": 3}}, "data.channels = 3, but the data gives 4"),
        ({"data": {"resolution": 32}}, "data.resolution = 32, but the data gives 64"),
        ({"network": {"heads": 3}}, "network.width = 256 is not a multiple of network.heads = 3"),
        ({"training": {"batch_size": 5, "micro_batch": 7}}, "Use 7, or another"),
    ],
)
def test_numbers_that_do_not_fit(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(SfumatoError, match=message.replace(".", r"\.")):
        resolved(**sections)


@pytest.mark.parametrize(("side", "near"), [(65, "64 or 72"), (100, "96 or 104")])
def test_a_side_that_the_autoencoder_cannot_halve(side: int, near: str) -> None:
    said = rf"= {side} is no multiple of 8.* Use {near}, or set latent\.use = false"
    with pytest.raises(SfumatoError, match=said):
        resolved(side)
    assert resolved(side, latent={"use": False}).latent.use is False  # the second cure works
    for multiple in map(int, near.split(" or ")):  # and so does the first
        assert resolved(multiple).latent.use is True


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trainin": {}}, "trainin is not a field of a recipe: did you mean 'training'"),
        ({"training": {"learnin_rate": 1.0}}, "did you mean 'learning_rate'"),
        ({"training": {"lr": 1.0}}, "training.lr is not a field of a recipe: known are images, m"),
        ({"training": {"optimizer": "sgd"}}, "training.optimizer = 'sgd' is not allowed, it must "),
        ({"training": {"optimizer": "sgd"}}, "must be 'adamw' or 'muon'."),
        ({"training": {"images": 0}}, "training.images = 0 is not allowed, it must be greater th"),
        ({"training": {"images": "5"}}, "training.images = '5' is not allowed"),
        ({"training": {"images": 1e6}}, "training.images = 1000000.0 is not allowed"),
        ({"training": {"images": True}}, "training.images = True is not allowed"),
        ({"training": {"betas": [0.9, 1.5]}}, "training.betas = [0.9, 1.5] is not allowed"),
        ({"training": {"betas": [0.9]}}, "training.betas = [0.9] is not allowed"),
        ({"training": {"clip": float("nan")}}, "training.clip = nan is not allowed"),
        ({"data": {"channels": 2}}, "data.channels = 2 is not allowed, it must be 1, 3 or 4"),
        ({"latent": {"use": "yes"}}, "it must be 'auto' or true or false"),
        ({"latent": 3}, "latent = 3 is not allowed, it must be a section of settings"),
    ],
)
def test_an_error_names_the_field_its_value_and_what_is_allowed(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(SfumatoError) as caught:
        recipe_of(sections)
    assert message in str(caught.value)


def test_every_wrong_field_is_named_at_once() -> None:
    with pytest.raises(SfumatoError) as caught:
        recipe_of({"training": {"seed": "x", "clip": 0}, "data": {"nmae": "y"}})
    for part in ("training.seed", "training.clip", "did you mean 'name'"):
        assert part in str(caught.value)


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Recipe().training.seed = 1  # type: ignore[misc]


def test_changed_keeps_the_rest() -> None:
    recipe = changed(
        recipe_of({"training": {"seed": 3}}), training={"clip": 2.0}, data={"name": "x"}
    )
    assert (recipe.training.seed, recipe.training.clip, recipe.data.name) == (3, 2.0, "x")
    with pytest.raises(SfumatoError, match="trainin is not"):
        changed(recipe, trainin={})


@pytest.mark.parametrize(
    "content", [b"[training", b"[training]\nseed = \xff", b"seed = 1\nseed = 2"]
)
def test_a_file_that_is_not_toml(content: bytes, tmp_path: Any) -> None:
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(SfumatoError, match=r"r\.toml is not valid TOML"):
        load_recipe(tmp_path / "r.toml")


def test_errors_of_a_file_carry_its_name(tmp_path: Any) -> None:
    with pytest.raises(SfumatoError, match="cannot be read: No such file"):
        load_recipe(tmp_path / "absent.toml")
    (tmp_path / "r.toml").write_text("[training]\nseeed = 1\n", "utf-8")
    with pytest.raises(SfumatoError, match=r"r\.toml: training\.seeed .* did you mean 'seed'"):
        load_recipe(tmp_path / "r.toml")


def test_a_failed_write_leaves_the_old_recipe(tmp_path: Any, monkeypatch: Any) -> None:
    path = tmp_path / "r.toml"
    save_recipe(recipe_of({"training": {"seed": 1}}), path)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sfumato.training.recipe.os.replace", full)
    with pytest.raises(SfumatoError, match="No space left on device"):
        save_recipe(Recipe(), path)
    assert load_recipe(path).training.seed == 1
    assert [p.name for p in tmp_path.iterdir()] == ["r.toml"]


def test_reading_a_recipe_does_not_import_torch() -> None:
    code = (
        "import sys; from sfumato.training import recipe, forecast, machine;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("training", "warmup"),
    [
        ({"images": 1_000_000}, 20_000),
        ({"images": 50_000}, 5_000),
        ({"minutes": 5.0}, 1_000),
        ({"minutes": 5.0, "images": 50_000}, 1_000),
        ({"images": 50_000, "warmup_images": 7}, 7),
    ],
)
def test_the_warm_up(training: dict[str, Any], warmup: int) -> None:
    assert resolved(training=training).training.warmup_images == warmup


@pytest.mark.parametrize(
    ("sections", "target", "weight"),
    [
        ({"latent": {"use": True}}, "flow", "uniform"),
        ({"latent": {"use": False}}, "x0", "velocity"),
        ({"latent": {"use": False}, "network": {"name": "patch-unet"}}, "flow", "uniform"),
        ({"latent": {"use": False}, "network": {"name": "unet"}}, "flow", "uniform"),
        ({"latent": {"use": True}, "network": {"name": "unet"}}, "flow", "uniform"),
        ({"network": {"name": "tiny-unet"}}, "flow", "uniform"),
        ({"network": {"name": "context-unet"}}, "flow", "uniform"),
        ({"latent": {"use": False}, "diffusion": {"target": "v"}}, "v", "uniform"),
        ({"latent": {"use": False}, "diffusion": {"weight": "uniform"}}, "x0", "uniform"),
    ],
)
def test_what_is_predicted(sections: dict[str, Any], target: str, weight: str) -> None:
    diffusion = resolved(**sections).diffusion
    assert (diffusion.target, diffusion.weight) == (target, weight)


@pytest.mark.parametrize(
    ("conditioning", "field"),
    [
        ({"kind": "text", "model": "a/b"}, "model"),
        ({"kind": "text", "encoder": "tfidf", "revision": "main"}, "revision"),
        ({"kind": "labels", "encoder": "t5", "model": "a/b"}, "model"),
        ({"kind": "text", "encoder": "t5", "features": 64}, "features"),
        ({"kind": "labels", "template": "a {}"}, "template"),
        ({"kind": "none", "template": "a {}"}, "template"),
    ],
)
def test_what_would_be_passed_over_is_refused(conditioning: dict[str, Any], field: str) -> None:
    with pytest.raises(SfumatoError, match=rf"conditioning\.{field}\)? = .* has no meaning with"):
        resolved(32, conditioning=conditioning)


def test_a_template_needs_a_place_for_the_name() -> None:
    with pytest.raises(SfumatoError, match=r"'a photo' is not allowed, .* a text with \{\} in it"):
        recipe_of({"conditioning": {"template": "a photo"}})


@given(st.lists(st.sampled_from(["autoencoder", "text", "network"]), min_size=1))
def test_the_same_parts_are_the_same_wish_in_any_order(parts: list[str]) -> None:
    once = recipe_of({"start": {"take": sorted(set(parts))}})
    assert recipe_of({"start": {"take": parts}}) == once
    assert set(once.start.take) == set(parts)


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        ({"network": {"name": "unet", "level_power": 2.0}}, "network.level_power"),
        ({"network": {"name": "matryoshka", "levels": 1, "level_power": 0.5}}, "level_power"),
        ({"network": {"name": "matryoshka", "levels": 1, "level_weights": [2.0]}}, "level_weights"),
        ({"network": {"name": "context-unet", "heads": 4}}, "network.heads"),
        ({"conditioning": {"kind": "text", "encoder": "tfidf", "layers": 4}}, "layers"),
        ({"conditioning": {"encoder": "tfidf", "vocabulary": 90}}, "vocabulary"),
        ({"conditioning": {"encoder": "t5", "vocabulary": 90}}, "vocabulary"),
        ({"conditioning": {"kind": "labels", "layers": 4}}, "layers"),
        ({"conditioning": {"kind": "labels", "vocabulary": 90}}, "vocabulary"),
        ({"conditioning": {"kind": "labels", "tokens": 8}}, "tokens"),
        ({"conditioning": {"kind": "labels", "encoder": "tfidf"}}, "conditioning.encoder"),
        ({"conditioning": {"kind": "none", "drop": 0.3}}, "drop"),
        ({"diffusion": {"times": "uniform", "time_mean": 0.5}}, "time_mean"),
        ({"diffusion": {"times": "uniform", "time_std": 0.5}}, "time_std"),
        ({"diffusion": {"schedule": "flow", "chain": 100}}, "chain"),
    ],
)
def test_what_nothing_looks_at_is_refused(sections: dict[str, Any], field: str) -> None:
    def settled(asked: Recipe) -> Recipe:
        return resolve(asked, channels=3, resolution=32, conditioning="text")

    with pytest.raises(SfumatoError, match=rf"{field}\)? = .* has no meaning with .* Leave it out"):
        settled(recipe_of(sections))
    # the same recipe without that field comes back as it is, and so does one of an older version
    name = field.split(".")[-1]
    rest = {key: {k: v for k, v in one.items() if k != name} for key, one in sections.items()}
    whole = settled(recipe_of(rest))
    assert settled(whole) == whole
    assert settled(changed(whole, training={"images": None})) == whole, (
        "what is filled in is no wish"
    )
    older = changed(whole, **sections)
    assert settled(older) == older


def test_what_the_data_decide_may_need_it() -> None:
    for kind in ("labels", "none"):
        asked = recipe_of({"conditioning": {"layers": 1, "vocabulary": 90, "drop": 0.3}})
        found = resolve(asked, channels=3, resolution=32, conditioning=kind)  # type: ignore[arg-type]
        assert (found.conditioning.kind, found.conditioning.vocabulary) == (kind, 90)


@pytest.mark.parametrize(
    "conditioning",
    [
        {"kind": "text", "encoder": "t5", "model": "a/b", "revision": "main", "template": "a {}"},
        {"kind": "text", "encoder": "tfidf", "features": 64},
        {"kind": "labels", "features": 128, "tokens": 24},  # as every recipe was written
        {"model": "a/b"},  # nobody knows the kind yet
    ],
)
def test_what_has_a_use_is_kept(conditioning: dict[str, Any]) -> None:
    found = resolved(32, conditioning=conditioning).conditioning.model_dump()
    assert conditioning.items() <= found.items()


def test_the_context_unet_stays_small() -> None:
    wide = {"network": {"name": "context-unet"}}
    assert resolved(64, **wide).network.name == "context-unet"
    with pytest.raises(SfumatoError, match="made for sides up to 64 .* here the side is 65"):
        resolved(65, **wide)
    assert resolved(128, **wide, latent={"use": True}).latent.use is True


def test_the_times_of_steps() -> None:
    assert resolved(32).sampling.grid == "uniform"
    assert resolved(32, network={"name": "matryoshka"}).sampling.grid == "log-snr"
    assert resolved(32, network={"name": "matryoshka", "levels": 1}).sampling.grid == "uniform"
    stated = {"network": {"name": "matryoshka"}, "sampling": {"grid": "uniform"}}
    assert resolved(32, **stated).sampling.grid == "uniform"


def test_what_is_there_already_is_not_judged_for_fields_that_nothing_looks_at() -> None:
    """Models of earlier days lack fields that came later, and may hold idle ones."""
    older = recipe_of({"conditioning": {"kind": "labels", "layers": 1, "vocabulary": 500}})
    facts: dict[str, Any] = {"channels": 1, "resolution": 28, "conditioning": "labels"}
    with pytest.raises(SfumatoError, match="has no meaning"):
        resolve(older, **facts)
    assert resolve(older, **facts, strict=False).conditioning.layers == 1
