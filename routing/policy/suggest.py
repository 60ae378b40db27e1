"""What to write instead of what is wrong: a fault's own hint, as a replacement at a place in the text. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MEANT = re.compile(r"Did you mean ['`]?([\w.@-]+?)['`]?\?")
_WORD = re.compile(r"""["']?([\w.@-]+)["']?""")
_UNEXPECTED = re.compile(r"^'([^']+)' was unexpected; known are (.+)\.$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Replace the characters `start` up to `end` of the document, counted in code points, by `text`."""

    start: int
    end: int
    text: str

    def applied(self, document: str) -> str:
        return document[: self.start] + self.text + document[self.end :]

    def as_json(self) -> dict[str, Any]:
        return {"start": self.start, "end": self.end, "text": self.text}


def suggest(document: str, fault: Mapping[str, Any]) -> Suggestion | None:
    """A replacement for a located fault {line, column, message}; None where its message hints at nothing."""
    line, column = fault.get("line"), fault.get("column")
    if not line or not column:
        return None
    at = _index(document, line, column)
    unexpected = _UNEXPECTED.match(fault["message"])
    if unexpected:
        return _of_key(document, at, unexpected[1], unexpected[2].split(", "))
    meant = _MEANT.search(fault["message"])
    word = _WORD.match(document, at) if meant else None
    if meant is None or word is None or word[1] == meant[1]:
        return None
    return Suggestion(*word.span(1), meant[1])


def _index(document: str, line: int, column: int) -> int:
    index = 0
    for _ in range(line - 1):
        index = document.find("\n", index) + 1
        if index == 0:
            return len(document)
    return min(index + column - 1, len(document))


def _of_key(document: str, at: int, key: str, known: list[str]) -> Suggestion | None:
    """A key that nobody knows: its place is that of the mapping it stands in, so it is looked for from there."""
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
    found = re.compile(rf"(?<![\w-]){re.escape(key)}(?=\s*:)", re.IGNORECASE).search(document, at)
    return Suggestion(*found.span(), near[0]) if near and found else None
