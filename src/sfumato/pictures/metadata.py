"""Pictures that carry their settings: PNG text chunks, written and read back.

Two chunks say the same: `parameters`, a text in the form that AUTOMATIC1111's web interface
introduced and that galleries and model sites read, and `sfumato`, our JSON, which is exact.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from sfumato.errors import SfumatoError
from sfumato.pictures.files import write_whole

Metadata = Literal["full", "seed", "none"]

#: What may be written into a picture: all settings, the seed only (nothing that was typed),
#: or nothing.
CHOICES: tuple[Metadata, ...] = get_args(Metadata)

#: Largest picture that is decoded for its settings, in pixels, the same as in `sfumato.data`.
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Settings:
    """What a picture was made with; enough to make it again.

    `index` is the picture's number among those of one prompt and seed: its noise is that of
    the global sample `index` under `seed`.
    """

    prompt: str = ""
    negative_prompt: str = ""
    steps: int = 0
    sampler: str = ""
    guidance_scale: float = 1.0
    seed: int = 0
    index: int = 0
    width: int = 0
    height: int = 0
    model: str = ""
    version: str = ""


def png(picture: Image.Image, settings: Settings, metadata: Metadata = "full") -> bytes:
    """The picture as a PNG file with its settings inside, the same bytes every time."""
    chunks = PngImagePlugin.PngInfo()
    if metadata == "full":
        # iTXt is UTF-8 in every reader; the older tEXt would garble Russian
        chunks.add_itxt("parameters", parameters(settings))
        chunks.add_itxt("sfumato", json.dumps(asdict(settings), ensure_ascii=False))
    elif metadata == "seed":
        chunks.add_itxt("sfumato", json.dumps({"seed": settings.seed, "index": settings.index}))
    file = io.BytesIO()
    picture.save(file, format="PNG", pnginfo=chunks, optimize=True)
    return file.getvalue()


def save_png(
    path: Path,
    picture: Image.Image,
    settings: Settings,
    metadata: Metadata = "full",
    overwrite: bool = True,
) -> None:
    """Write the PNG whole or not at all; see `files.write_whole` for the errors."""
    write_whole(path, png(picture, settings, metadata), overwrite)


def read_settings(path: Path) -> Settings | None:
    """The settings inside a picture, ours or those of another tool; None if there are none.

    Raises:
        SfumatoError: when the file is no PNG that can be read, or above `MAX_PIXELS`.
    """
    try:
        # what we write and nothing else: Pillow would start Ghostscript for an EPS named .png
        with Image.open(path, formats=("PNG",)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                sides = f"{picture.width} x {picture.height}"
                raise ValueError(f"{sides} pixels are above {MAX_PIXELS // 10**6} megapixels")
            picture.load()  # text chunks may stand behind the pixels
            text = dict(picture.info)
    except UnidentifiedImageError as error:
        raise SfumatoError(f"{path} cannot be read as a picture: it is no PNG file.") from error
    except MemoryError:
        raise
    except Exception as error:  # broken data make decoders raise almost anything
        raise SfumatoError(f"{path} cannot be read as a picture: {error}.") from error
    ours = text.get("sfumato")
    if isinstance(ours, str):
        try:
            return _from_json(json.loads(ours))
        except (ValueError, RecursionError):
            pass  # damaged or foreign: the plain text may still tell
    plain = text.get("parameters")
    return parse_parameters(plain) if isinstance(plain, str) else None


def parameters(settings: Settings) -> str:
    """The settings in the A1111 form: prompt, negative prompt, then `key: value` pairs."""
    pairs = {
        "Steps": settings.steps,
        "Sampler": settings.sampler,
        "CFG scale": settings.guidance_scale,
        "Seed": settings.seed,
        "Size": f"{settings.width}x{settings.height}",
        "Model": settings.model,
        "Index": settings.index or "",
        "Version": f"sfumato {settings.version}" if settings.version else "",
    }
    line = ", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items() if value != "")
    negative = [f"Negative prompt: {settings.negative_prompt}"] if settings.negative_prompt else []
    return "\n".join([settings.prompt, *negative, line])


def parse_parameters(text: str) -> Settings | None:
    """Read the A1111 form; None when the text is in no such form."""
    *above, last = text.strip().split("\n")
    pairs = {
        key.strip(): _unquoted(value)
        for key, value in re.findall(r'([\w ]+): *("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', last)
    }
    if "Steps" not in pairs:
        return None
    prompt, *negatives = re.split(r"(?m)^Negative prompt:", "\n".join(above), maxsplit=1)
    size = re.fullmatch(r"(\d{1,6})x(\d{1,6})", pairs.get("Size", ""))
    return Settings(
        prompt=prompt.strip(),
        negative_prompt="".join(negatives).strip(),
        steps=_number(pairs.get("Steps"), int),
        sampler=pairs.get("Sampler", ""),
        guidance_scale=_number(pairs.get("CFG scale"), float, 1.0),
        seed=_number(pairs.get("Seed"), int),
        index=_number(pairs.get("Index"), int),
        width=int(size[1]) if size else 0,
        height=int(size[2]) if size else 0,
        model=pairs.get("Model", ""),
        version=pairs.get("Version", "").removeprefix("sfumato "),
    )


def _from_json(found: Any) -> Settings:
    """Our JSON to settings; unknown keys are of a later version, wrong types an error."""
    if not isinstance(found, dict):
        raise ValueError("not an object")
    wanted: dict[str, Any] = {}
    for name, default in asdict(Settings()).items():
        if name in found:
            value = found[name]
            if isinstance(default, float) and type(value) is int:
                value = float(value)  # JSON knows one kind of number
            if type(value) is not type(default):
                raise ValueError(f"{name} is not {type(default).__name__}")
            wanted[name] = value
    return Settings(**wanted)


def _quoted(value: object) -> str:
    """A value that holds a separator is quoted as JSON, as the A1111 form does."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text


def _unquoted(value: str) -> str:
    try:
        return str(json.loads(value)) if value.startswith('"') else value.strip()
    except ValueError:
        return value


def _number(text: str | None, kind: type, default: Any = 0) -> Any:
    try:
        return kind(text) if text is not None else default
    except ValueError:
        return default
