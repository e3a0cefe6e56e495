"""What Sfumato says, in English and Russian.

A message is looked up by key in `en.json` or `ru.json`; `{name}` marks what is filled in.  The
language is Russian when `SFUMATO_LANG`, or else the system's locale, begins with "ru".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

LANGUAGES = ("en", "ru")


def translate(key: str, **values: object) -> str:
    """The message `key` in the user's language, with the values in place.

    Raises:
        KeyError: when there is no such message, or a value is missing.
    """
    return messages(language())[key].format(**values)


def language(environment: Mapping[str, str] | None = None) -> str:
    """The user's language: "en" or "ru".  `SFUMATO_LANG` beats `LC_ALL`, `LC_MESSAGES`, `LANG`."""
    environment = os.environ if environment is None else environment
    for name in ("SFUMATO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        stated = environment.get(name, "")
        if stated:
            return "ru" if stated.lower().startswith("ru") else "en"
    return "en"


@lru_cache(maxsize=len(LANGUAGES))
def messages(language: str) -> dict[str, str]:
    """All messages of one language."""
    path = Path(__file__).with_name(f"{language}.json")
    return dict(json.loads(path.read_text("utf-8")))
