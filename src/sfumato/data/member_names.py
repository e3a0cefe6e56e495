"""Names inside archives: what may be written, under which name, on every system."""

from __future__ import annotations

import re
import unicodedata

from sfumato.errors import SfumatoError

_DEPTH, _LONGEST, _LONGEST_PATH = 16, 200, 1000
# names of devices, with any extension, in every folder of Windows
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\.|$)", re.I)
_FORBIDDEN = re.compile(r'[<>:"|?*]')


def shown(name: str) -> str:
    """A name for a message: escaped and short, so that it can do nothing to a terminal."""
    return repr(name if len(name) <= 80 else name[:77] + "...")


def plain(text: str) -> str:
    """Text for a terminal: what is no letter or sign (a control, a turn of direction) escaped."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def safe_parts(name: str) -> tuple[str, ...]:
    """The folders and the file that a member is written to, below the target.

    What could lead elsewhere is refused.  What only Windows cannot store - reserved names,
    signs such as "?", dots and spaces at the end - is replaced, on every system alike.

    Args:
        name: as the archive states it; "/" separates, one at the end is ignored.

    Returns:
        Its parts; empty for the target itself ("./").

    Raises:
        SfumatoError: absolute, with a drive letter or "..", with a backslash or a control
            character, too deep or too long.
    """
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        raise refused(name, "has a name with control characters")
    if "\\" in name:
        raise refused(name, "has a backslash in its name")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise refused(name, "has an absolute path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise refused(name, "leads out of the folder")
    if len(parts) > _DEPTH or len(name.encode()) > _LONGEST_PATH:
        raise refused(name, "lies too deep or has too long a path")
    if any(len(part.encode()) > _LONGEST for part in parts):
        raise refused(name, "has too long a name")
    return tuple(for_windows(part) for part in parts)


def for_windows(part: str) -> str:
    """A folder's or file's own name as Windows can store it."""
    part = _FORBIDDEN.sub("_", part)
    stripped = part.rstrip(". ")
    part = stripped + "_" * (len(part) - len(stripped))
    return "_" + part if _DEVICES.match(part) else part


def same_file(parts: tuple[str, ...]) -> str:
    """Equal for names that some file system takes for the same (letter case, composition)."""
    path = unicodedata.normalize("NFC", "/".join(parts)).casefold()
    return unicodedata.normalize("NFC", path)


def refused(name: str, why: str) -> SfumatoError:
    """The sentence about a member that is not unpacked."""
    return SfumatoError(
        f"The member {shown(name)} {why}; nothing was unpacked. "
        "Take the archive from its publisher."
    )
