"""Help and complaints of the command line in the user's language.

Typer speaks English alone, and its words are partly fixed in its code.  So the titles of the help
are set, and a complaint is translated as a whole when it is about to be shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperCommand, TyperGroup

from sfumato.locale import language, messages, translate

#: What Typer says -> what we say: (pattern, key, names of what the pattern holds).  The English
#: sentences stay Typer's own.
_SENTENCES = [
    (r"No such command '(.*?)'\.?", "usage.no_command", "name"),
    (r"No such option:? '?(.+?)'?\.?", "usage.no_option", "name"),
    (r"Missing argument '(.*?)'\.", "usage.no_argument", "name"),
    (r"Missing (?:option|parameter) '(.*?)'\.", "usage.no_value", "name"),
    (r"Missing command\.", "usage.what", ""),
    (r"Option '(.*?)' requires an argument\.", "usage.no_value", "name"),
    (r"Option '(.*?)' does not take a value\.", "usage.no_value_wanted", "name"),
    (r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)", "usage.too_much", "names"),
    (r"Input should be greater than or equal to (\S+)", "usage.least", "limit"),
    (r"Input should be less than or equal to (\S+)", "usage.most", "limit"),
    (r"'?(\S+?)'? is not in the range (.*?)\.", "usage.range", "value range"),
    (r"Input should be a valid integer.*", "usage.integer", ""),
    (r"Input should be a valid number.*", "usage.number", ""),
    (r"(?:Value )?'.*' is not a valid int(?:eger)?(?: range)?\.", "usage.integer", ""),
    (r"(?:Value )?'.*' is not a valid float(?: range)?\.", "usage.number", ""),
]
_WHERE = r"Invalid value for (.*?): (.*)"
_MEANT = r"\s*\(?(?:Did you mean(?: one of)?|Possible options):? (.*?)\??\)?$"


def spoken(sentence: str) -> str:
    """A complaint of Typer's in the user's language; what is not known stays as it is."""
    sentence = sentence.strip().removeprefix("Invalid value: ")
    if language() == "en":
        return sentence
    within = re.fullmatch(_WHERE, sentence, re.DOTALL)
    if within:
        return f"{translate('usage.invalid_for', name=within[1])} {spoken(within[2])}"
    found = re.search(_MEANT, sentence, re.DOTALL)
    if found:
        meant = translate("usage.meant", name=found[1].replace("'", ""))
        return f"{spoken(sentence[: found.start()])} {meant}"
    for pattern, key, names in _SENTENCES:
        found = re.fullmatch(pattern, sentence, re.DOTALL)
        if found:
            return translate(key, **dict(zip(names.split(), found.groups(), strict=True)))
    return sentence


#: Options that Typer adds by itself.
_TYPERS_OWN = {
    "install_completion": "help.install_completion",
    "show_completion": "help.show_completion",
}


class _Spoken:
    """What a command and a group of commands have in common."""

    def get_usage(self, ctx: Any) -> str:
        """The line of usage, under our word for it."""
        line: str = super().get_usage(ctx)  # type: ignore[misc]
        return line.replace("Usage:", translate("usage.usage"), 1)

    def get_help_option(self, ctx: Any) -> Any:
        """The option --help, with our words."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.help, option.metavar = translate("help.help"), ""
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, under our titles."""
        _set_titles()
        for option in self.params:  # type: ignore[attr-defined]
            key = _TYPERS_OWN.get(option.name)
            if key is not None:
                option.help, option.metavar = translate(key), ""
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A group without any word is asked for its help, which is no mistake."""
        if not args and isinstance(self, TyperGroup) and not ctx.resilient_parsing:
            args = ["--help"]
        parsed: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        return parsed


class Command(_Spoken, TyperCommand):
    """A command that speaks the user's language."""


class Group(_Spoken, TyperGroup):
    """The same for a command of commands; complaints of all pass here."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """As Typer's."""
        with _complaints():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """As Typer's."""
        with _complaints():
            return super().invoke(ctx)


@contextmanager
def _complaints() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        say = getattr(error, "format_message", None)
        if say is not None and not hasattr(error, "spoken"):
            _set_titles()
            sentence = spoken(say())
            error.format_message = lambda: sentence  # type: ignore[attr-defined]
            error.spoken = True  # type: ignore[attr-defined]
        raise


def _set_titles() -> None:
    from typer import rich_utils  # loads Rich, so not before it is needed

    words = messages(language())  # with their places still to be filled
    rich_utils.DEFAULT_STRING = words["usage.default"]
    rich_utils.REQUIRED_LONG_STRING = words["usage.required"]
    rich_utils.ARGUMENTS_PANEL_TITLE = words["usage.arguments"]
    rich_utils.OPTIONS_PANEL_TITLE = words["usage.options"]
    rich_utils.COMMANDS_PANEL_TITLE = words["usage.commands"]
    rich_utils.ERRORS_PANEL_TITLE = words["usage.error"]
    rich_utils.RICH_HELP = words["usage.try"]
