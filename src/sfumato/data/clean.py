"""A mended copy of a folder of pictures; the folder itself is never touched.

What can be read, is not blank and is no copy of another picture is taken over byte for byte;
pictures that the camera stored lying on their side are turned upright and saved again.  Classes
stay folders, captions stand in one metadata.jsonl, and left-out.csv says what is missing and why.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, ImageOps

from sfumato.data.captions import METADATA_NAMES
from sfumato.data.decode import UnreadablePicture, open_picture
from sfumato.data.findings import remark, spoken
from sfumato.data.health import HealthReport
from sfumato.data.oddities import mended
from sfumato.data.scan import Scan
from sfumato.errors import SfumatoError
from sfumato.locale import translate

LEFT_OUT = "left-out.csv"

_FORBIDDEN = re.compile(r'[\\:*?"<>|\x00-\x1f\x7f-\x9f]')  # by Windows, or by our own tables
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Cleaned:
    """What was done.

    Attributes:
        target: the copy's folder.
        copied: pictures taken over byte for byte.
        turned: pictures turned upright and saved again.
        captions: captions whose letters were put right.
        left_out: (file name, kind of finding, reason in the user's language).
    """

    target: Path
    copied: int
    turned: int
    captions: int
    left_out: tuple[tuple[str, str, str], ...]

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
            "left out": [list(row) for row in self.left_out],
        }

    def text(self) -> str:
        """For people, in their language."""
        said = translate(
            "clean.done", target=self.target, kept=self.kept, copied=self.copied,
            turned=self.turned, left=len(self.left_out),
        )  # fmt: skip
        if self.captions:
            said += "\n" + translate("clean.captions", count=self.captions)
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
    partial = target.resolve().with_name(f".{target.resolve().name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        copied, turned, names = 0, 0, {}
        taken: set[str] = set()
        for done, index in enumerate(kept):
            if progress and not done % 20:
                progress("copying", done, len(kept))
            name = _safe(files.names[index], taken)
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
        mendings = _write_captions(report, files, names, partial)
        _write_left_out(left_out, partial)
        if target.is_dir():
            target.rmdir()  # empty, as was demanded; not every system replaces a folder
        partial.rename(target.resolve())
    except OSError as error:
        raise SfumatoError(
            translate("clean.failed", why=error.strerror or type(error).__name__)
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Cleaned(target, copied, turned, mendings, tuple(left_out))


def _sorted(report: HealthReport, files: Scan) -> tuple[list[int], list[tuple[str, str, str]]]:
    """Indices to keep, and what is left out with its reason."""
    reasons: dict[int, tuple[str, str]] = {}
    index_of = {name: index for index, name in enumerate(files.names)}
    for kind in ("unreadable", "blank"):
        for problem in report.findings.get(kind, ()):
            index = index_of.get(problem.origin)
            if index is not None:
                reasons.setdefault(index, (kind, spoken(problem)))
    first_of = {one.origin: one.values["other"] for one in report.findings.get("duplicate", ())}
    for index, best in report.stands_for.items():
        name, other = files.names[index], files.names[best]
        near = first_of.get(name, name) != first_of.get(other, other)
        said = spoken(remark("", "near" if near else "same", other=other))
        reasons.setdefault(index, ("near duplicate" if near else "duplicate", said))
    kept = [index for index in range(len(files.names)) if index not in reasons]
    return kept, [(files.names[index], *reasons[index]) for index in sorted(reasons)]


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
    form = image.format or "PNG"
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


def _safe(name: str, taken: set[str]) -> str:
    """A name that every system and every table can carry; each one is given once."""
    parts = [_FORBIDDEN.sub("_", part).strip().rstrip(".") for part in PurePosixPath(name).parts]
    path = PurePosixPath(*(part or "_" for part in parts))
    if path.name.lower() in METADATA_NAMES:
        path = path.with_name(f"_{path.name}")
    unique, number = path, 1
    while unique.as_posix().casefold() in taken:
        number += 1
        unique = path.with_name(f"{path.stem}-{number}{path.suffix}")
    taken.add(unique.as_posix().casefold())
    return unique.as_posix()


def _write_captions(report: HealthReport, files: Scan, names: dict[int, str], where: Path) -> int:
    """metadata.jsonl, unless the folders' names say all; returns how many texts were mended."""
    folders = {index: files.names[index].partition("/")[0] for index in names}
    classed = all(folder == files.labels[index] for index, folder in folders.items())
    if report.classes and classed and len(set(folders.values())) > 1:
        return 0  # a table would make captions of the classes
    given = _merged(report, files, names)
    mendings = 0
    with (where / "metadata.jsonl").open("w", encoding="utf-8") as table:
        for index, name in names.items():
            texts = [mended(text) for text in given[index]]
            mendings += sum(a != b for a, b in zip(texts, given[index], strict=True))
            row = {"file_name": name, "text": texts[0] if len(texts) == 1 else texts}
            line = json.dumps(row, ensure_ascii=False)
            if not _writable(line):  # a file name that is not text
                line = json.dumps(row)
            table.write(line + "\n")
    return mendings


def _merged(report: HealthReport, files: Scan, names: dict[int, str]) -> dict[int, list[str]]:
    """Captions of each kept picture, and of those it stands for."""
    given = {index: list(files.captions[index]) for index in names}
    unnamed = {one.origin for one in report.findings.get("caption missing", ())}
    if report.classes or report.name in unnamed:  # nobody wrote a caption; names are all there is
        return given
    for index, best in sorted(report.stands_for.items()):
        if best in given and files.names[index] not in unnamed:
            if files.names[best] in unnamed:  # said by a person beats taken from a name
                given[best] = []
                unnamed.discard(files.names[best])
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
