"""What the pictures are called."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from sfumato.errors import SfumatoError
from sfumato.locale import translate
from sfumato.pictures.metadata import Metadata, Settings, save_png

_LONGEST = 60  # letters of the prompt in a file name


def stem(prompt: str, seed: int) -> str:
    """A file name from a prompt and its seed: "Red heart!" and 7 give "red-heart-7".

    Letters of any language stay; everything that a shell or a file system could take amiss
    becomes a hyphen.
    """
    text = unicodedata.normalize("NFC", prompt).lower()
    words = re.sub(r"[\W_]+", "-", text).strip("-")[:_LONGEST].strip("-")
    return f"{words or 'picture'}-{seed}"


@dataclass(frozen=True)
class Target:
    """Where pictures go: a folder with names from the prompts, or names from one given file.

    Pictures in a folder never replace a file: the name gets -2, -3 and so on.  A file that
    was named outright is replaced.
    """

    folder: Path
    file: Path | None = None

    @classmethod
    def of(cls, output: str | None) -> Target:
        """From `-o`: nothing is the current folder; a path with an ending is a file.

        A path without an ending, or with a slash behind it, is a folder, made when missing.

        Raises:
            SfumatoError: when the ending is not .png.
        """
        path = Path(output or ".").expanduser()
        if path.is_dir() or not path.suffix or (output or "").endswith(("/", os.sep)):
            return cls(path)
        if path.suffix.lower() != ".png":
            raise SfumatoError(translate("generate.ending", ending=path.suffix))
        return cls(path.parent, path)

    def save(
        self,
        picture: Image.Image,
        settings: Settings,
        metadata: Metadata,
        number: int,
        of: int,
    ) -> Path:
        """Save picture `number` (from 0) of `of`; returns the path it got."""
        if self.file is not None:
            name = self.file.name if of == 1 else f"{self.file.stem}-{number + 1}.png"
            path = self.folder / name
            save_png(path, picture, settings, metadata)
            return path
        name = stem(settings.prompt, settings.seed)
        attempt = 1
        while True:
            path = self.folder / (f"{name}.png" if attempt == 1 else f"{name}-{attempt}.png")
            try:
                if not path.exists():  # spares writing a file only to find its name taken
                    save_png(path, picture, settings, metadata, overwrite=False)
                    return path
            except FileExistsError:
                pass  # another process was faster
            attempt += 1
