"""A mended copy of a folder of pictures; the folder itself is never touched.

What can be read, is not blank and is no copy of another picture is taken over byte for byte;
pictures that the camera stored lying on their side are turned upright and saved again.  Classes
stay folders, captions stand in one metadata.jsonl (of each part, where there are train and test),
and left-out.csv says what is missing and why.  A picture that nobody described gets no caption.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from sfumato.data.alone import alone
from sfumato.data.checking.clean_names import CleanNames
from sfumato.data.checking.health import HealthReport
from sfumato.data.checking.oddities import mended
from sfumato.data.decode import UnreadablePicture, open_picture
from sfumato.data.findings import KINDS, remark, spoken
from sfumato.data.scan import Scan
from sfumato.errors import SfumatoError
from sfumato.locale import translate

LEFT_OUT = "left-out.csv"
STAYING = ("caption odd", "class imbalance", "tiny", "shape", "transparency", "grey")
"""Findings for a person to judge, so a copy keeps them; missing captions are counted apart."""

_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Cleaned:
    """What was done.

    Attributes:
        target: the copy's folder.
        copied: pictures taken over byte for byte.
        turned: pictures turned upright and saved again.
        captions: captions whose letters were put right.
        uncaptioned: pictures in the copy that still lack a caption.
        left_out: (file name, kind of finding, reason in the user's language).
        remaining: kind of finding -> how many of them the copy still has; those about classes as
            they were before.
    """

    target: Path
    copied: int
    turned: int
    captions: int
    uncaptioned: int
    left_out: tuple[tuple[str, str, str], ...]
    remaining: dict[str, int]

    @property
    def kept(self) -> int:
        """Pictures in the copy."""
        return self.copied + self.turned

    def to_dict(self) -> dict[str, Any]:
        """The same in types that JSON knows."""
        return {
            "folder": str(self.target),
            "copied": self.copied,
            "turned": self.turned,
            "captions": self.captions,
            "without caption": self.uncaptioned,
            "left out": [list(row) for row in self.left_out],
            "remaining": self.remaining,
        }

    def text(self) -> str:
        """For people, in their language."""
        said = translate(
            "clean.done", target=self.target, kept=self.kept, copied=self.copied,
            turned=self.turned, left=len(self.left_out),
        )  # fmt: skip
        if self.captions:
            said += "\n" + translate("clean.captions", count=self.captions)
        if self.uncaptioned:
            said += "\n" + translate("clean.uncaptioned", count=self.uncaptioned)
        if self.remaining:
            named = ((KINDS[kind], count) for kind, count in self.remaining.items())
            kinds = ". ".join(translate(key, count=count) for key, count in named)
            total = sum(self.remaining.values())
            said += "\n" + translate("clean.remaining", total=total, kinds=kinds)
        return said


def demand_target(source: Path | None, target: Path, name: str) -> None:
    """See that a clean copy may be written there; nothing is made yet.

    Args:
        source: the folder that is copied; None if the data set is no folder of files.
        target: where to.
        name: of the data set.

    Raises:
        SfumatoError: no files, one folder inside the other, or the target is in use.
    """
    if source is None:
        raise SfumatoError(translate("clean.files_only", name=name))
    there, here = target.expanduser().resolve(), source.expanduser().resolve()
    if there == here or there.is_relative_to(here) or here.is_relative_to(there):
        raise SfumatoError(translate("clean.inside", target=target, source=source))
    try:
        used = there.exists() and (not there.is_dir() or any(there.iterdir()))
    except OSError:
        used = True
    if used:
        raise SfumatoError(translate("clean.full", target=target))


def write_clean(
    report: HealthReport, target: Path, progress: Callable[[str, int, int], None] | None = None
) -> Cleaned:
    """Write the clean copy: whole, or not at all.

    Of pictures that are the same or look alike, the one with the most pixels is kept, with the
    captions of all.  An interruption or a full disk leaves no folder behind.

    Args:
        report: of a folder of picture files, made by `check`.
        target: a folder that is not there yet, or empty.
        progress: called now and then, with the phase "copying".

    Raises:
        SfumatoError: see `demand_target`; nothing would be left, or the disk refuses.
    """
    files = report.files
    demand_target(files.root if files else None, target, report.name)
    assert files is not None
    target = target.expanduser()
    kept, left_out = _sorted(report, files)
    if not kept:
        raise SfumatoError(translate("clean.nothing"))
    try:
        with _partial(target.resolve()) as partial:
            copied, turned, names = 0, 0, {}
            safe = CleanNames()
            for done, index in enumerate(kept):
                if progress and not done % 20:
                    progress("copying", done, len(kept))
                name = safe.of(files.names[index])
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    upright = _transfer(files.paths[index], partial / name)
                except UnreadablePicture as error:
                    why = translate("clean.reencode", why=str(error))
                    left_out.append((files.names[index], "unreadable", why))
                    continue
                names[index] = name
                turned += upright
                copied += not upright
            mendings, bare = _write_captions(report, files, names, partial)
            _write_left_out(left_out, partial)
            if target.is_dir():
                target.rmdir()  # empty, as was demanded; not every system replaces a folder
            partial.rename(target.resolve())
    except OSError as error:
        raise SfumatoError(
            translate("clean.failed", why=error.strerror or type(error).__name__)
        ) from None
    remaining = _remaining(report, {name for name, _, _ in left_out})
    return Cleaned(target, copied, turned, mendings, bare, tuple(left_out), remaining)


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A new folder beside the target; what an earlier, killed run left there is removed."""
    partial = target.with_name(f".{target.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    lock = partial.with_name(f"{partial.name}.lock")
    with alone(lock, translate("clean.busy", target=target)):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _sorted(report: HealthReport, files: Scan) -> tuple[list[int], list[tuple[str, str, str]]]:
    """Indices to keep, and what is left out with its reason."""
    reasons: dict[int, tuple[str, str]] = {}
    index_of = {name: index for index, name in enumerate(files.names)}
    for kind in ("unreadable", "blank"):
        for problem in report.findings.get(kind, ()):
            index = index_of.get(problem.origin)
            if index is not None:
                reasons.setdefault(index, (kind, spoken(problem)))
    first_of = {
        one.origin: one.values["other"]
        for kind in ("duplicate", "leak")
        for one in report.findings.get(kind, ())
        if one.kind.startswith("same")
    }
    for index, best in report.stands_for.items():
        name, other = files.names[index], files.names[best]
        near = first_of.get(name, name) != first_of.get(other, other)
        said = spoken(remark("", "near" if near else "same", other=other))
        kind = "near duplicate" if near else "duplicate"
        kind = kind if report.part(name) == report.part(other) else "leak"
        reasons.setdefault(index, (kind, said))
    kept = [index for index in range(len(files.names)) if index not in reasons]
    return kept, [(files.names[index], *reasons[index]) for index in sorted(reasons)]


def _remaining(report: HealthReport, gone: set[str]) -> dict[str, int]:
    """What is neither left out nor mended, by kind."""
    counts = {
        kind: sum(
            one.origin not in gone and one.kind != "mojibake"
            for one in report.findings.get(kind, ())
        )
        for kind in STAYING
    }
    return {kind: count for kind, count in counts.items() if count}


def _transfer(source: Path, target: Path) -> bool:
    """Copy one picture; True if it had to be turned upright and saved again.

    Raises:
        UnreadablePicture: it has to be turned but cannot be decoded and saved.
    """
    if not source.is_file():
        raise UnreadablePicture("it has gone")
    with open_picture(source) as image:
        if _lies(image):
            _turn(image, target)
            return True
    shutil.copyfile(source, target)
    return False


def _lies(image: Image.Image) -> bool:
    try:
        return image.getexif().get(_ORIENTATION, 1) in range(2, 9)
    except Exception:  # a broken EXIF block says nothing
        return False


def _turn(image: Image.Image, target: Path) -> None:
    # the photographs of many telephones are MPO: a JPEG, and behind it a second one of depths
    form = "JPEG" if image.format == "MPO" else image.format or "PNG"
    try:
        image.load()  # TIFF pictures turn themselves while loading
        turned = ImageOps.exif_transpose(image)
        turned.save(target, form, icc_profile=image.info.get("icc_profile"), **_saving(form))
    except Exception as error:  # broken data make decoders raise almost anything
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the decoder
        target.unlink(missing_ok=True)
        raise UnreadablePicture(str(error) or type(error).__name__) from None


def _saving(form: str) -> dict[str, Any]:
    if form == "JPEG":
        return {"quality": 95, "subsampling": 0}
    return {"lossless": True} if form == "WEBP" else {}


def _write_captions(
    report: HealthReport, files: Scan, names: dict[int, str], where: Path
) -> tuple[int, int]:
    """metadata.jsonl of each part, unless its folders' names say all.

    Returns:
        How many texts were mended, and how many pictures have none.
    """
    given = _merged(report, files, names)
    mendings = bare = 0
    for part in report.parts or ("",):
        start = len(part) + 1 if part else 0
        here = {i: name for i, name in names.items() if report.part(files.names[i]) == part}
        folders = {index: files.names[index][start:].partition("/")[0] for index in here}
        classed = all(folder == files.labels[index] for index, folder in folders.items())
        if classed and len(set(folders.values())) > 1:
            continue  # a table would make captions of the classes
        lines = []
        for index, name in here.items():
            texts = [mended(text) for text in given[index]]
            if not texts:
                bare += 1
                continue
            mendings += sum(a != b for a, b in zip(texts, given[index], strict=True))
            row = {"file_name": name[start:], "text": texts[0] if len(texts) == 1 else texts}
            line = json.dumps(row, ensure_ascii=False)
            lines.append(line if _writable(line) else json.dumps(row))  # a name that is not text
        if lines:
            table = "".join(f"{line}\n" for line in lines)
            (where / part / "metadata.jsonl").write_bytes(table.encode())
    return mendings, bare


def _merged(report: HealthReport, files: Scan, names: dict[int, str]) -> dict[int, list[str]]:
    """What people said of each kept picture, and of those it stands for in its part."""
    missing = {one.origin for one in report.findings.get("caption missing", ())}
    bare = {
        index
        for index, name in enumerate(files.names)
        if not missing.isdisjoint((name, report.name, report.part(name)))
    }
    given = {index: [] if index in bare else list(files.captions[index]) for index in names}
    for index, best in sorted(report.stands_for.items()):
        alike = report.part(files.names[index]) == report.part(files.names[best])
        # the classes of copies are no captions
        if best in given and index not in bare and alike and files.labels[index] is None:
            given[best] += [text for text in files.captions[index] if text not in given[best]]
    return given


def _writable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _write_left_out(left_out: list[tuple[str, str, str]], where: Path) -> None:
    # with a mark, so that spreadsheets read the letters right
    with (where / LEFT_OUT).open(
        "w", encoding="utf-8-sig", errors="backslashreplace", newline=""
    ) as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "kind", "reason"))
        writer.writerows(left_out)
