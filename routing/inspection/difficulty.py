"""Cheap guesses from a text's form: language by script, difficulty by length and structure."""

from __future__ import annotations

import re

_CJK = re.compile(r"[\u4e00-\u9fff]")
_WORD = re.compile(r"[A-Za-z]{2,}")
_STRUCTURE = re.compile(
    r"```|\b(?:because|therefore|prove|derive|compare|explain|step|why|function|class|def)\b|[{}=<>]|\n- "
)
SAMPLE = 2_000  # characters looked at


def language(text: str) -> str:
    sample = text[:SAMPLE]
    chinese, english = len(_CJK.findall(sample)), len(_WORD.findall(sample))
    if chinese and chinese >= english:
        return "zh"
    return "en" if english else "other"


def difficulty(text: str) -> float:
    """[0, 1]: grows with length (half at 1,200 characters) and with signs of reasoning or code."""
    length = len(text) / (len(text) + 1_200)
    structure = min(1.0, len(_STRUCTURE.findall(text[:SAMPLE])) / 8)
    return round(0.6 * length + 0.4 * structure, 3)
