"""Cheap guesses from a text's form: language by script, difficulty by length and structure."""

from __future__ import annotations

import re

_CJK = re.compile(r"[\u4e00-\u9fff]")
_WORD = re.compile(r"[A-Za-z]{2,}")
_WORDS = (
    "because",
    "therefore",
    "prove",
    "derive",
    "compare",
    "explain",
    "step",
    "why",
    "function",
    "class ",
    "def ",
)
_SIGNS = ("```", "{", "=", "<", "\n- ")  # a single character is found ten times sooner than counted
SAMPLE = 2_000  # characters looked at
FEW = 400  # of which the language is guessed from so many


def language(text: str) -> str:
    """zh, en or other; a Chinese character weighs as much as a word."""
    sample = text[:FEW]
    if (
        not sample.isascii()
        and _CJK.search(sample)
        and len(_CJK.findall(sample)) >= len(_WORD.findall(sample))
    ):
        return "zh"
    return "en" if _WORD.search(sample) else "other"


def difficulty(text: str) -> float:
    """[0, 1]: grows with length (half at 1,200 characters) and with signs of reasoning or code."""
    length = len(text) / (len(text) + 1_200)
    sample = text[:SAMPLE]
    signs = sum(map(sample.count, _WORDS)) + sum(map(sample.count, (s for s in _SIGNS if s[0] in sample)))
    structure = min(1.0, signs / 8)
    return round(0.6 * length + 0.4 * structure, 3)
