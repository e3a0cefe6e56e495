"""What a folder of pictures holds, by names and texts alone: no picture is opened here."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from sfumato.data.captions import METADATA_NAMES, named_by, read_caption_file, read_metadata
from sfumato.data.decode import UnreadablePicture, unreadable
from sfumato.data.example import Problem
from sfumato.data.findings import remark
from sfumato.data.sources.columns import class_order
from sfumato.errors import SfumatoError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_ABOUT_ALL = {"captions", "classes", "copying", "labels", "licence", "license", "notes", "readme"}
"""Texts that lie beside pictures and are no captions of one."""
_SPLITS = {"train": ("train", "training"), "test": ("test", "val", "valid", "validation")}


@dataclass
class Scan:
    """A folder's pictures in order of name; lists run in parallel.

    Attributes:
        root: the folder, with links resolved.
        name: what to call the data set.
        paths: the picture files.
        names: the same relative to ``root``, with forward slashes.
        captions: never empty.
        labels: the class of each picture, or None.
        classes: all classes in order; empty where captions were found.
        refused: index -> what is said of pictures that must not be opened.
        remarks: everything odd except unreadable pictures.
    """

    root: Path
    name: str
    paths: list[Path] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    captions: list[tuple[str, ...]] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    refused: dict[int, UnreadablePicture] = field(default_factory=dict)
    remarks: list[Problem] = field(default_factory=list)

    def refuse_links(self) -> None:
        """Pictures that lie outside of ``root``, which is resolved, are not opened."""
        for index, path in enumerate(self.paths):
            if not path.resolve().is_relative_to(self.root):
                self.refused[index] = unreadable("link_away")


def scan(folder: Path, split: str = "train") -> Scan:
    """Find the pictures of a folder and what is said about each.

    A caption comes from a text file of the same name, else from a metadata file; if the whole
    folder has neither and all pictures lie in two or more subfolders, these are classes.  Where
    nothing is said, the words of the file's or folder's name are taken, and a remark says so.

    Raises:
        SfumatoError: no pictures, no such split, or an unusable metadata file.
    """
    root = _split_folder(folder, split).resolve()
    result = Scan(root, folder.resolve().name)
    files = _walk(root, result)
    pictures = [name for name in files if PurePath(name).suffix.lower() in EXTENSIONS]
    if not pictures:
        raise SfumatoError(
            f"{root} holds no pictures ({', '.join(EXTENSIONS)}). Put pictures there, with "
            "captions in .txt files of the same names, in metadata.csv, .jsonl or .parquet "
            "(columns file_name and text), or in one subfolder for each class."
        )
    result.names = pictures
    result.paths = [root / name for name in pictures]
    result.refuse_links()
    tables = _metadata(files, result)
    sidecars = _sidecars(files)
    if tables or any(_sidecar(name, sidecars) for name in pictures):
        _caption(result, tables, sidecars)
        _orphans(result, sidecars)
    elif not _classify(result, _classes_of_train(folder) if split == "test" else ()):
        _caption(result, {}, {})
    return result


def holds_pictures(root: Path) -> bool:
    """Whether a picture lies in the folder or anywhere inside it (hidden ones do not count)."""
    return any(
        PurePath(name).suffix.lower() in EXTENSIONS and not name.startswith(".")
        for _, _, names in os.walk(root)
        for name in names
    )


def _split_folder(folder: Path, split: str) -> Path:
    if split not in _SPLITS:
        raise SfumatoError(f"A folder has no part {split!r}. Take train or test.")
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise SfumatoError(
            f"{folder} cannot be read ({error.strerror}). Give a folder that you may read."
        ) from None
    names = {path.name.lower(): path for path in inside if path.is_dir()}
    # pictures or a table beside "train" mean that it is a folder like any other
    plain = any(
        path.suffix.lower() in EXTENSIONS or path.name.lower() in METADATA_NAMES
        for path in inside
        if path.is_file()
    )
    if not plain:
        for name in _SPLITS[split]:
            if name in names:
                return names[name]
    if split == "test":
        raise SfumatoError(f'{folder} has no test part. Put its pictures into a subfolder "test".')
    return folder


def _walk(root: Path, result: Scan) -> list[str]:
    files: list[str] = []
    for where, folders, names in os.walk(root):
        here = Path(where)
        for name in folders:
            if (here / name).is_symlink():
                origin = (here / name).relative_to(root).as_posix()
                result.remarks.append(remark(origin, "link_folder"))
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            # hidden ones are the system's ("._a.jpg" on macOS), not the user's
            if not name.startswith(".") and (here / name).is_file():
                files.append((here / name).relative_to(root).as_posix())
    return sorted(files)


def _sidecars(files: list[str]) -> dict[str, str]:
    return {name[:-4]: name for name in files if name.lower().endswith(".txt")}


def _sidecar(picture: str, sidecars: dict[str, str]) -> str | None:
    """a.txt or a.jpg.txt for a.jpg."""
    return sidecars.get(str(PurePath(picture).with_suffix("").as_posix())) or sidecars.get(picture)


def _metadata(files: list[str], result: Scan) -> dict[str, tuple[str, ...]]:
    """Captions by picture name, from all metadata files; their paths are checked."""
    known = set(result.names)
    captions: dict[str, tuple[str, ...]] = {}
    for name in files:
        if PurePath(name).name.lower() not in METADATA_NAMES:
            continue
        path = result.root / name
        if not path.resolve().is_relative_to(result.root):
            result.remarks.append(remark(name, "link_unread"))
            continue
        rows, remarks = read_metadata(path)
        result.remarks += [replace(said, origin=name) for said in remarks]
        earlier = dict(captions)  # a caption that two tables tell is one, not twice as likely
        for file_name, texts in rows:
            target = os.path.normpath(PurePath(name).parent / file_name.replace("\\", "/"))
            target = target.replace(os.sep, "/")
            if target.startswith("../") or os.path.isabs(target) or ":" in target.split("/")[0]:
                result.remarks.append(remark(name, "leaves", file=repr(file_name)))
            elif target not in known:
                result.remarks.append(remark(name, "absent", file=repr(file_name)))
            else:
                new = tuple(text for text in texts if text not in earlier.get(target, ()))
                captions[target] = captions.get(target, ()) + new
    return captions


def _caption(result: Scan, tables: dict[str, tuple[str, ...]], sidecars: dict[str, str]) -> None:
    result.labels = [None] * len(result.names)
    bare = not tables and not sidecars
    if bare:
        result.remarks.append(remark(result.name, "bare", topic="caption missing"))
    for index, name in enumerate(result.names):
        texts, complaint = tables.get(name, ()), "no_caption"
        file: dict[str, str] = {}
        if name in tables and not texts:
            complaint = "empty_caption"
        sidecar = _sidecar(name, sidecars)
        if sidecar is not None:
            own, complaint, file = _read_sidecar(result, sidecar)
            texts = own or texts
        if not texts:
            words, whose = named_by(PurePath(name), result.name)
            texts = (words,)
            if not bare and index not in result.refused:
                result.remarks.append(
                    remark(
                        name, f"named_{whose}", topic="caption missing",
                        complaint=complaint, words=repr(words), **file,
                    )
                )  # fmt: skip
        result.captions.append(texts)


def _orphans(result: Scan, sidecars: dict[str, str]) -> None:
    """Caption files whose picture is missing, beside such as have one."""
    own = {str(PurePath(name).with_suffix("").as_posix()) for name in result.names}
    own.update(result.names)
    if own.isdisjoint(sidecars):
        return
    for stem, name in sidecars.items():
        if stem not in own and PurePath(stem).name.lower() not in _ABOUT_ALL:
            result.remarks.append(remark(name, "orphan"))


def _read_sidecar(result: Scan, sidecar: str) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """Captions, the kind of complaint where there are none, and what fills its sentence."""
    path = result.root / sidecar
    if not path.resolve().is_relative_to(result.root):
        return (), "caption_link", {"file": sidecar}
    try:
        texts, encoding = read_caption_file(path)
    except OSError as error:
        return (), "caption_unread", {"file": sidecar, "why": str(error.strerror)}
    if encoding != "utf-8" and texts:
        read = f"{encoding}: {texts[0]!r}"
        result.remarks.append(remark(sidecar, "encoded", topic="caption encoding", encoding=read))
    return texts, "empty_file", {"file": sidecar}


def _classes_of_train(folder: Path) -> tuple[str, ...]:
    """The folders with pictures in the train part, so that a class has one number in both."""
    train = _split_folder(folder, "train")
    names = _walk(train, Scan(train, "")) if train != folder else []
    return class_order(
        name.split("/", 1)[0]
        for name in names
        if "/" in name and PurePath(name).suffix.lower() in EXTENSIONS
    )


def _classify(result: Scan, train: tuple[str, ...]) -> bool:
    """Take the first folder of each name as its class, if there are at least two."""
    if not all("/" in name for name in result.names):
        return False
    labels = [name.split("/", 1)[0] for name in result.names]
    classes = class_order(labels, train)
    if len(classes) < 2:
        return False
    result.classes = classes
    result.labels = list(labels)
    result.captions = [(label.replace("_", " ").strip() or label,) for label in labels]
    return True
