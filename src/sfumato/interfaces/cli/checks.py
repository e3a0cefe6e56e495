"""The single checks of `sfumato doctor`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from importlib.resources import as_file, files
from pathlib import Path

from sfumato import __version__
from sfumato.errors import SfumatoError
from sfumato.locale import language, translate
from sfumato.pictures.terminal import Colours, colours

GIB = 1024**3


#: What is called differently in other languages; python, torch and bf16 are names.
_LABELS = {
    "threads": "doctor.threads_name",
    "memory": "doctor.memory_name",
    "disk": "doctor.disk_name",
    "accelerator": "doctor.accelerator",
    "embedded model": "doctor.embedded_model",
    "embedded data": "doctor.embedded_data",
    "terminal": "doctor.terminal_name",
    "extras": "doctor.extras",
}

_COLOURS = {
    Colours.NOTHING: "doctor.no_pictures",
    Colours.SHADES: "doctor.shades",
    Colours.INDEXED: "doctor.indexed",
    Colours.TRUE: "doctor.true_colour",
}

_LANGUAGES = {"en": "doctor.english", "ru": "doctor.russian"}


class Health(Enum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it stands, and the cure where it does not."""

    name: str
    health: Health
    text: str
    cure: str = ""

    @property
    def label(self) -> str:
        """The name for people, in their language."""
        key = _LABELS.get(self.name)
        return self.name if key is None else translate(key)

    def to_dict(self) -> dict[str, str]:
        """The same in types that JSON knows."""
        return {
            "name": self.name,
            "health": self.health.value,
            "text": self.text,
            "cure": self.cure,
        }


def examine() -> Iterator[Check]:
    """All checks, in order; one that breaks is itself a finding, never the end."""
    checks: list[Callable[[], Check]] = [
        python,
        torch,
        threads,
        memory,
        disk,
        bf16,
        accelerator,
        embedded_model,
        embedded_data,
        terminal,
        extras,
    ]
    for check in checks:
        try:
            yield check()
        except Exception as error:  # the doctor must not die of the illness
            text = str(error) or type(error).__name__
            yield Check(check.__name__.replace("_", " "), Health.FAIL, text)


def python() -> Check:
    """The interpreter and the system."""
    text = f"{platform.python_version()}, {platform.platform()}, sfumato {__version__}"
    return Check("python", Health.OK, text)


def torch() -> Check:
    """The version, without importing it: that would take seconds and could crash."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        missing, cure = translate("doctor.missing"), translate("doctor.torch_cure")
        return Check("torch", Health.FAIL, missing, cure)
    return Check("torch", Health.OK, version)


def threads() -> Check:
    """Processor cores that this process may use."""
    from sfumato.training.machine import threads_allowed

    allowed, there = threads_allowed(), os.cpu_count() or 1
    text = translate("doctor.threads", allowed=allowed, there=there)
    return Check("threads", Health.OK, text)


def memory(root: Path = Path("/")) -> Check:
    """Memory that is free, or that the control group leaves."""
    free = free_memory(root)
    if free is None:
        return Check("memory", Health.WARN, translate("doctor.memory_unknown"))
    text = translate("doctor.free", size=f"{free / GIB:.1f}")
    if free < 1 * GIB:
        return Check("memory", Health.WARN, text, translate("doctor.memory_cure"))
    return Check("memory", Health.OK, text)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes this process may still take; None where the system does not say."""
    limits = []
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    except OSError:
        pass
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        group = root / "sys/fs/cgroup"
        try:
            limits.append(int((group / limit).read_text()) - int((group / used).read_text()))
        except (OSError, ValueError):  # no such group, or its limit is the word "max"
            continue
    return max(0, min(limits)) if limits else None


def disk() -> Check:
    """Room and permission to write in the current folder."""
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    text = translate("doctor.disk", size=f"{free / GIB:.1f}", folder=here)
    if not os.access(here, os.W_OK):
        return Check("disk", Health.WARN, text, translate("doctor.write_cure"))
    if free < 2 * GIB:
        return Check("disk", Health.WARN, text, translate("doctor.disk_cure"))
    return Check("disk", Health.OK, text)


def bf16() -> Check:
    """Whether half precision pays; a measurement, so either answer is good."""
    from sfumato.training.machine import bf16_pays

    return Check("bf16", Health.OK, bf16_pays()[1])


def accelerator() -> Check:
    """A graphics card that torch can use."""
    import torch as library

    if library.cuda.is_available():
        names = [library.cuda.get_device_name(i) for i in range(library.cuda.device_count())]
        return Check("accelerator", Health.OK, ", ".join(names))
    if library.backends.mps.is_available():
        return Check("accelerator", Health.OK, "Apple mps")
    return Check("accelerator", Health.OK, translate("doctor.no_accelerator"))


def embedded_model() -> Check:
    """The model in the package: there, and unchanged."""
    from sfumato.storage import EMBEDDED, verified

    try:
        with as_file(files("sfumato").joinpath(EMBEDDED)) as folder:
            size = sum(len(content) for content in verified(folder).values())
    except SfumatoError as error:
        return Check("embedded model", Health.FAIL, str(error), translate("doctor.reinstall"))
    text = translate("doctor.verified", size=f"{size / 1e6:.1f}")
    return Check("embedded model", Health.OK, text)


def embedded_data() -> Check:
    """The emoji data set in the package."""
    from sfumato.data import open_source

    try:
        count = len(open_source("emoji"))
    except SfumatoError as error:
        return Check("embedded data", Health.WARN, str(error), translate("doctor.reinstall"))
    return Check("embedded data", Health.OK, translate("doctor.pictures", count=count))


def terminal() -> Check:
    """What the terminal can show, and the language of messages."""
    kind = colours(sys.stdout)
    shown, tongue = _COLOURS[kind], _LANGUAGES[language()]
    text = translate("doctor.terminal", colours=translate(shown), language=translate(tongue))
    if kind is Colours.NOTHING and sys.stdout.isatty():
        return Check("terminal", Health.WARN, text, translate("doctor.terminal_cure"))
    return Check("terminal", Health.OK, text)


def extras() -> Check:
    """Optional parts; that they are missing is a fact, not a fault."""
    wanted = {
        "pyarrow": ("parquet", "doctor.parquet"),
        "tensorboard": ("tensorboard", "doctor.tensorboard"),
        "transformers": ("text", "doctor.text"),
        "sklearn": ("tfidf", "doctor.tfidf"),
        "datasets": ("hub", "doctor.hub"),
        "resvg_py": ("clipart", "doctor.clipart"),
        "ddgs": ("collect", "doctor.collect"),
    }
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if not missing:
        return Check("extras", Health.OK, ", ".join(wanted))
    brought = []
    for name in missing:
        key = wanted[name][1]
        brought.append(translate(key))
    text = translate("doctor.lacking", names=", ".join(brought))
    named = ",".join(wanted[name][0] for name in missing)
    return Check("extras", Health.OK, text, translate("doctor.extras_cure", extras=named))
