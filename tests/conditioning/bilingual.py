"""Prompts in both languages, as few as the tests need."""

from __future__ import annotations

TEXTS = [
    "red heart",
    "blue heart",
    "grinning face with big eyes",
    "tiger face",
    "green apple",
    "красное сердце",
    "синее сердце",
    "широко улыбающееся лицо",
    "морда тигра",
    "зелёное яблоко",
    "ёжик",
]
WIDTH = 24
