"""Is a data set fit to train on?  Counts and names; nothing is changed or deleted."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from statistics import median

import numpy as np

from sfumato.data import open_source
from sfumato.data.captions import named_by
from sfumato.data.checking.health import FEW, HealthReport
from sfumato.data.checking.oddities import commonest, oddity
from sfumato.data.decode import UnreadablePicture, is_transparent, open_picture
from sfumato.data.duplicates import signature, similar_groups
from sfumato.data.example import Example, Problem, Source
from sfumato.data.findings import KINDS, finding_of, remark, spoken
from sfumato.data.scan import _SPLITS, Scan, holds_pictures
from sfumato.data.sources.folder import FolderSource

__all__ = ["FEW", "KINDS", "HealthReport", "check", "spoken"]

Progress = Callable[[str, int, int], None]
"""Called with a phase ("looking"), how much of it is done, and how much there is."""

PARTS = tuple(name for names in _SPLITS.values() for name in names)
"""Subfolders that are parts of a data set."""

LONG = 2.0
"""A picture longer than this many times its width is mentioned: half of it is not learned."""

_BLANK = 1.0  # standard deviation in levels of 255: JPEG noise on one colour stays below
_COLOURLESS = 12  # levels between the channels of a pixel that still looks grey
_SHARED = 10  # captions of fewer pictures may well be the same
_MENTIONED = 0.5  # what most pictures have is no exception worth naming


@dataclass
class _Survey:
    """What one pass over the pictures gathers; all lists are of indices or run along them."""

    classed: bool
    parts: tuple[str, ...] = ()
    found: dict[str, list[Problem]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    places: dict[str, int] = field(default_factory=dict)
    first_of: dict[bytes, int] = field(default_factory=dict)
    copies_of: dict[int, list[int]] = field(default_factory=dict)
    signatures: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    origins: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    captions: list[tuple[str, ...]] = field(default_factory=list)
    transparent: list[int] = field(default_factory=list)
    grey: list[int] = field(default_factory=list)
    readable: list[int] = field(default_factory=list)

    def part(self, index: int) -> str:
        """The part that a picture belongs to; "" where there is one part only."""
        return self.origins[index].partition("/")[0] if self.parts else ""


def check(
    data: str | Path | Source,
    split: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> HealthReport:
    """Look at every picture and caption of a data set.

    Copies, similar and blank pictures are judged as the training would see them, that is after
    resizing; tiny and long ones by their stored size.

    Args:
        data: a name, a path (see `sfumato.data.open_source`) or an open source.
        split: which part, for a name or path.  None is all parts of a folder of picture files
            (train, test, val ...) together, so that a picture that stands in two of them is found
            as a "leak", and the part "train" of everything else.
        size: side in pixels at which to train, for a name or path; by default the data set's.
        progress: called now and then.

    Raises:
        SfumatoError: there is no such data set, or it has no pictures at all.
    """
    source = _opened(data, split, size) if isinstance(data, str | Path) else data
    files = _files(source)
    dimensions: list[tuple[int, int]] = getattr(source, "dimensions", [])
    survey = _look(source, dimensions, files, progress)
    _doubles(survey)
    groups, stands_for = _similar(survey, dimensions, files, progress)
    remarks = list(source.report().problems)
    broken = {one.origin for one in remarks if one.replaced}
    for problem in _one_by_one(survey, source.name, remarks):
        # a picture that cannot be read needs no caption
        if problem.topic != "caption missing" or problem.origin not in broken:
            survey.found[finding_of(problem)].append(problem)
    classes = Counter(dict.fromkeys(source.classes, 0))
    if source.classes:
        classes.update(survey.labels[i] or "" for i in survey.readable if survey.labels[i])
    else:
        _captions(survey, source.name, remarks)
    survey.found["class imbalance"] = _imbalance(classes)
    _exceptions(survey, source.channels)
    named = {one.origin for found in survey.found.values() for one in found}
    named.update(origin for group in groups for origin in group)
    return HealthReport(
        name=source.name,
        total=len(source),
        size=source.size,
        channels=source.channels,
        captions=len({text for index in survey.readable for text in survey.captions[index]}),
        classes=dict(classes),
        findings={kind: tuple(problems) for kind, problems in survey.found.items() if problems},
        transparent=len(survey.transparent),
        grey=len(survey.grey),
        groups=groups,
        stands_for=stands_for,
        places={origin: index for origin, index in survey.places.items() if origin in named},
        dimensions=tuple(dimensions),
        parts=survey.parts,
        source=source,
        files=files,
    )


def _opened(data: str | Path, split: str | None, size: int | None) -> Source:
    source = open_source(data, size=size, split=split or "train", broken_share=1.0)
    root = Path(data).expanduser().resolve()
    if split is not None or type(source) is not FolderSource or source._found.root == root:
        return source
    parts = {source._found.root.name: source}  # a subfolder was taken, so there may be others
    for folder in sorted(root.iterdir()):
        other = folder.name.lower() in PARTS and folder.resolve() != source._found.root
        if other and folder.is_dir() and holds_pictures(folder):
            parts[folder.name] = FolderSource(folder, source.size, source.channels, "train", 1.0)
    return source if len(parts) == 1 else FolderSource.joined(root, parts)


def _files(source: Source) -> Scan | None:
    """The picture files behind a data set; None where the pictures lie in archives or tables."""
    # not its subclasses: they read archives
    return source._found if type(source) is FolderSource else None


def _look(
    source: Source,
    dimensions: list[tuple[int, int]],
    files: Scan | None,
    progress: Progress | None,
) -> _Survey:
    survey = _Survey(bool(source.classes), getattr(source, "parts", ()))
    unreadable: dict[int, str] = getattr(source, "unreadable", {})
    for index in range(len(source)):
        if progress and not index % 100:
            progress("looking", index, len(source))
        example = None if index in unreadable else source[index]
        if example is None or index in unreadable:  # it may have become so this moment
            survey.origins.append("")
            survey.labels.append(None)
            survey.captions.append(())
            continue
        survey.origins.append(example.origin)
        survey.labels.append(example.label)
        survey.captions.append(example.captions)
        survey.places[example.origin] = index
        survey.readable.append(index)
        size = dimensions[index] if dimensions else None
        _measure(survey, index, example, source.size, size)
        if _see_through(example, files.paths[index] if files else None):
            survey.transparent.append(index)
    return survey


def _measure(
    survey: _Survey, index: int, example: Example, side: int, size: tuple[int, int] | None
) -> None:
    image, origin = example.image, example.origin
    channels = len(image)
    blank = image.std(axis=(1, 2)).max() < _BLANK
    if size and min(size):
        width, height = size
        short, long = min(size), max(size)
        # with transparency the whole picture is kept and padded, so its longer side counts
        if (long if channels == 4 else short) < side:
            survey.found["tiny"].append(remark(origin, "pixels", width=width, height=height))
        if long > LONG * short:
            kind = "padded" if channels == 4 else "cropped"
            lost = f"{100 * (1 - short / long):.0f}%"
            found = remark(origin, kind, width=width, height=height, lost=lost)
            survey.found["shape"].append(found)
    if channels > 1:
        colours = image[:3].astype(np.int16)
        spread = np.percentile(colours.max(axis=0) - colours.min(axis=0), 99)
        if spread <= _COLOURLESS and not blank:
            survey.grey.append(index)
    if blank:
        colour = str(tuple(round(float(c)) for c in image.mean(axis=(1, 2))))
        survey.found["blank"].append(remark(origin, "blank", colour=colour))
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    first = survey.first_of.setdefault(digest, index)
    if first != index:
        survey.copies_of.setdefault(first, []).append(index)
    elif not blank:
        survey.signatures[index] = signature(image)


def _see_through(example: Example, path: Path | None) -> bool:
    """Whether something is transparent in the file, or else in the picture."""
    if path is None:
        return len(example.image) == 4 and bool((example.image[3] < 128).mean() >= 0.01)
    try:
        with open_picture(path) as image:
            return is_transparent(image)
    except UnreadablePicture:
        return False  # it has gone since; the source knows it


def _doubles(survey: _Survey) -> None:
    pairs = [(copy, first) for first, copies in survey.copies_of.items() for copy in copies]
    for copy, first in sorted(pairs):
        _note(survey, "same", copy, first)


def _similar(
    survey: _Survey,
    dimensions: list[tuple[int, int]],
    files: Scan | None,
    progress: Progress | None,
) -> tuple[tuple[tuple[str, ...], ...], dict[int, int]]:
    """Groups of similar pictures, and which picture stands for which."""

    def worth(index: int) -> tuple[bool, int, int, int]:
        width, height = dimensions[index] if dimensions else (0, 0)
        weight = _weight(files.paths[index]) if files else 0
        learned = survey.part(index).lower() in _SPLITS["train"]  # what is tested with stays whole
        # the most pixels first, of these the least compressed, then in order
        return learned, -width * height, -weight, index

    stands_for: dict[int, int] = {}
    best_of: dict[int, int] = {}
    for first, copies in survey.copies_of.items():
        best_of[first] = best = min((first, *copies), key=worth)
        stands_for.update({other: best for other in (first, *copies) if other != best})
    firsts = list(survey.signatures)
    if not firsts:
        return (), stands_for
    bits = np.stack([survey.signatures[index][0] for index in firsts])
    copies_ = np.stack([survey.signatures[index][1] for index in firsts])
    bests = [best_of.get(index, index) for index in firsts]
    order = sorted(range(len(firsts)), key=lambda place: worth(bests[place]))
    groups = []
    for group in similar_groups(bits, copies_, order, progress):
        best, *others = (bests[place] for place in group)
        groups.append(tuple(survey.origins[index] for index in (best, *others)))
        for other in others:
            stands_for[other] = best
            _note(survey, "near", other, best)
    # a copy of a picture that is itself superfluous is represented by the same one
    stands_for = {index: stands_for.get(best, best) for index, best in stands_for.items()}
    return tuple(groups), stands_for


def _weight(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _note(survey: _Survey, kind: str, index: int, other: int) -> None:
    found = {"same": "duplicate", "near": "near duplicate"}[kind]
    if survey.part(index) != survey.part(other):
        found = "leak"
    survey.found[found].append(_alike(survey, kind, index, other))


def _alike(survey: _Survey, kind: str, index: int, other: int) -> Problem:
    label = survey.labels[other]
    origin, other_origin = survey.origins[index], survey.origins[other]
    if not survey.classed or label is None or label == survey.labels[index]:
        return remark(origin, kind, other=other_origin)
    kind = {"same": "same_class", "near": "near_class"}[kind]
    return remark(origin, kind, other=other_origin, label=label)


def _one_by_one(survey: _Survey, name: str, remarks: list[Problem]) -> Iterator[Problem]:
    """The remarks; one about all of a part that has no captions becomes one about each picture."""
    for problem in remarks:
        if problem.kind != "bare":
            yield problem
            continue
        for index in survey.readable:
            if problem.origin not in (name, survey.part(index)):
                continue
            origin = PurePath(survey.origins[index])
            inside = origin.relative_to(survey.part(index)) if survey.parts else origin
            words, whose = named_by(inside, problem.origin)
            yield remark(
                survey.origins[index], f"named_{whose}", topic=problem.topic,
                complaint="no_caption", words=repr(words),
            )  # fmt: skip


def _captions(survey: _Survey, name: str, remarks: list[Problem]) -> None:
    missing = {one.origin for one in remarks if one.topic == "caption missing"}
    if name in missing:  # the whole set has none
        return
    given = [i for i in survey.readable if missing.isdisjoint((survey.origins[i], survey.part(i)))]
    for index in given:
        odd = next((odd for text in survey.captions[index] if (odd := oddity(text))), None)
        if odd:
            kind, values = odd
            survey.found["caption odd"].append(remark(survey.origins[index], kind, **values))
    caption, count, total = commonest(survey.captions[index] for index in given)
    if total >= _SHARED and 2 * count > total:
        shown = repr(caption[:60])
        found = remark(name, "same_caption", caption=shown, count=count, total=total)
        survey.found["caption odd"].insert(0, found)


def _imbalance(classes: Counter[str]) -> list[Problem]:
    if not classes:
        return []
    usual = median(classes.values())
    found = []
    for label, count in sorted(classes.items()):
        if 5 * count < usual:
            found.append(remark(label, "rare", count=count, usual=f"{usual:g}"))
        elif count > 5 * usual:
            found.append(remark(label, "dominant", count=count, usual=f"{usual:g}"))
    return found


def _exceptions(survey: _Survey, channels: int) -> None:
    """Pictures that are of another sort than most: transparent, opaque, grey."""
    if channels == 4:
        opaque = sorted(set(survey.readable) - set(survey.transparent))
        if len(opaque) < _MENTIONED * len(survey.readable):
            survey.found["transparency"] += [remark(survey.origins[i], "opaque") for i in opaque]
    else:
        lost = survey.transparent  # laid on white
        survey.found["transparency"] += [remark(survey.origins[i], "see_through") for i in lost]
    if channels > 1 and len(survey.grey) < _MENTIONED * len(survey.readable):
        survey.found["grey"] += [remark(survey.origins[index], "grey") for index in survey.grey]
