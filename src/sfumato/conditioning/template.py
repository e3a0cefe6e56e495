"""The sentence around the names of classes: "a photo of a {}"."""

from __future__ import annotations

PLACE = "{}"
"""In a template, where the name goes."""


def filled(template: str, name: str) -> str:
    """The template with the name in its place."""
    return template.replace(PLACE, name)


def wrapped(template: str | None, prompt: str) -> str:
    """A prompt as a model hears it that has heard nothing but filled templates.

    What stands in the template already, in any letter case, stays as it is, and so does the empty
    prompt.

    Args:
        template: None for models that were trained without.
    """
    said = prompt.strip().casefold()
    if template is None or not said:
        return prompt
    first, *_, last = template.casefold().split(PLACE)
    before, after = first.lstrip(), last.rstrip()
    room = len(said) > len(before) + len(after)
    if room and said.startswith(before) and said.endswith(after):
        return prompt
    return filled(template, prompt.strip())
