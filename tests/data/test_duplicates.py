"""Similar pictures: copies are found, others are not, and not every pair is compared."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from sfumato.data import duplicates
from sfumato.data.decode import fit
from sfumato.data.duplicates import DISTANCE, signature, similar_groups, similar_pairs


def scene(seed: int, side: int = 200) -> Image.Image:
    """Soft colours with sharp shapes on them, another one for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 7, 3), dtype=np.uint8))
    image = np.array(coarse.resize((side, side), Image.Resampling.BICUBIC))
    for _ in range(4):
        top, left = rng.integers(0, side - 50, 2)
        image[top : top + 40, left : left + 40] = rng.integers(0, 256, 3)
    return Image.fromarray(image)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content)


def stacked(images: list[Image.Image], channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    found = [signature(fit(image.convert("RGB"), 64, channels)) for image in images]
    return np.stack([bits for bits, _ in found]), np.stack([copy for _, copy in found])


CHANGES = {
    "quality": lambda image: jpeg(image, 40),
    "half": lambda image: image.resize((100, 100), Image.Resampling.BICUBIC),
    "twice": lambda image: image.resize((400, 400), Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.08),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_changed_copy_is_found(change, channels):
    images = [scene(seed) for seed in range(20)]
    copies = [CHANGES[change](image) for image in images]
    found = similar_pairs(*stacked([*images, *copies], channels))
    assert found == [(place, place + 20) for place in range(20)]


def test_other_pictures_and_other_colours_are_not_copies():
    images = [scene(seed) for seed in range(60)]
    turned = [Image.merge("RGB", image.split()[::-1]) for image in images[:10]]
    flipped = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images[:10]]
    assert similar_pairs(*stacked([*images, *turned, *flipped])) == []


def test_a_small_change_of_one_place_makes_another_picture():
    images = [scene(seed) for seed in range(10)]
    marked = [image.copy() for image in images]
    for image in marked:
        dark = sum(image.getpixel((106, 106))) < 384
        image.paste((255, 255, 255) if dark else (0, 0, 0), (100, 100, 112, 112))
    assert similar_pairs(*stacked([*images, *marked])) == []


def slow_pairs(bits: np.ndarray, copies: np.ndarray) -> list[tuple[int, int]]:
    """Every pair, one by one, from the definition."""
    found = []
    for one in range(len(bits)):
        for other in range(one + 1, len(bits)):
            change = copies[one].astype(float) - copies[other]
            shift = change.mean(axis=(1, 2))
            rest = change - shift[:, None, None]
            contrast = min(copies[k].astype(float).std(axis=(1, 2)).mean() for k in (one, other))
            if (
                (bits[one] != bits[other]).sum() <= DISTANCE
                and abs(shift).max() <= duplicates.SHIFT
                and abs(rest).max() <= duplicates.PLACE
                and np.sqrt((rest**2).mean()) <= duplicates.SHARE * max(8.0, contrast)
            ):
                found.append((one, other))
    return found


def test_the_bands_miss_nothing_that_comparing_all_would_find():
    rng = np.random.default_rng(0)
    base = rng.random((25, 144)) < 0.5
    near = np.repeat(base, 8, axis=0)
    for row in near:  # up to two more than are allowed
        row[rng.choice(144, rng.integers(0, DISTANCE + 3), replace=False)] ^= True
    bits = np.concatenate([base, near])
    copies = rng.integers(120, 135, (len(bits), 3, 16, 16)).astype(np.uint8)
    copies[:, :, ::2] += 60
    truth = slow_pairs(bits, copies)
    assert len(truth) > 200
    assert similar_pairs(bits, copies) == truth


def test_no_chain_becomes_a_group_and_the_order_chooses_the_first():
    bits = np.zeros((4, 144), dtype=bool)
    bits[1, :10] = bits[2, :20] = True  # 0 - 1 - 2, but not 0 - 2
    bits[3, 60:] = True
    copies = np.full((4, 1, 16, 16), 99, dtype=np.uint8)
    assert similar_pairs(bits, copies) == [(0, 1), (1, 2)]
    assert similar_groups(bits, copies) == [[0, 1]]
    assert similar_groups(bits, copies, order=[1, 3, 2, 0]) == [[1, 0, 2]]
    assert similar_groups(bits, copies, order=[2, 0, 1, 3]) == [[2, 1]]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count):
    assert (
        similar_groups(np.zeros((count, 144), bool), np.zeros((count, 3, 16, 16), np.uint8)) == []
    )


def test_many_equal_hashes_take_no_quadratic_time():
    # the worst case: all in one bucket, where each would meet 10,000
    count = 10_000
    bands = duplicates._Bands(np.zeros((count, 144), dtype=bool))
    met = len(bands.near(count // 2, np.ones(count, dtype=bool)))
    assert duplicates._SHORTEST < met <= 2 * duplicates._COMPARISONS // (12 * count) + 12 * 2


def groups_of(pairs: list[tuple[int, int]], order: list[int]) -> list[list[int]]:
    """Groups from all pairs, by the definition."""
    free, groups = set(order), []
    for first in order:
        if first in free:
            free.discard(first)
            members = [k for k in sorted(free) if (min(first, k), max(first, k)) in set(pairs)]
            free.difference_update(members)
            groups += [[first, *members]] if members else []
    return groups


def test_the_groups_are_those_of_all_pairs():
    rng = np.random.default_rng(1)
    bits = np.repeat(rng.random((12, 144)) < 0.5, 7, axis=0)
    for row in bits:
        row[rng.choice(144, rng.integers(0, DISTANCE), replace=False)] ^= True
    copies = rng.integers(120, 135, (len(bits), 1, 16, 16)).astype(np.uint8)
    copies[:, :, ::2] += 60
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(bits)).tolist()
        truth = groups_of(slow_pairs(bits, copies), order)
        assert len(truth) > 12
        assert similar_groups(bits, copies, order) == truth


def test_frames_of_one_scene_are_compared_once_each(monkeypatch):
    compared, real = [], duplicates._confirmed

    def counted(copies, one, other):
        compared.append(len(one))
        return real(copies, one, other)

    monkeypatch.setattr(duplicates, "_confirmed", counted)
    rng = np.random.default_rng(0)
    bits = np.repeat(rng.random((1, 144)) < 0.5, 600, axis=0)
    copies = rng.integers(120, 124, (600, 3, 16, 16)).astype(np.uint8)
    told = []
    found = similar_groups(bits, copies, progress=lambda *step: told.append(step))
    assert found == [list(range(600))] and sum(compared) == 599
    assert told == [("comparing", 0, 600), ("comparing", 500, 600)]
