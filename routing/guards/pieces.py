"""Text cut into what a scorer reads at once: sentences, since a long text hides a bad one among good ones."""

from __future__ import annotations

import re

SHORT = 40  # characters: a shorter sentence is read with the one after it
LONG = 400  # a longer one in overlapping parts
OVERLAP = 120
# That every way to end begins with one of a few characters lets the search run over all others.
ENDS = re.compile(r"[.!?。！？\n](?:(?<=[.!?])[\"')\]]*(?=\s)|(?<=[。！？\n])[。！？\n]*)")


def pieces(text: str, offset: int = 0) -> list[tuple[int, str]]:
    """(where it begins in the whole answer, the piece), in order; blank ones are left out."""
    found: list[tuple[int, str]] = []
    start = 0
    for end in [*[match.end() for match in ENDS.finditer(text)], len(text)]:
        if end - start < SHORT and end < len(text):
            continue
        found += _parts(text, start, end, offset)
        start = end
    return found


def _parts(text: str, start: int, end: int, offset: int) -> list[tuple[int, str]]:
    if end - start <= LONG:
        part = text[start:end]
        return [] if not part or part.isspace() else [(offset + start, part)]
    starts = range(start, end - OVERLAP, LONG - OVERLAP)
    cuts = [(at, text[at : min(end, at + LONG)]) for at in starts]
    return [(offset + at, part) for at, part in cuts if part.strip()]


def last_end(text: str) -> int:
    """Where the last whole sentence ends; 0 when none does."""
    end = 0
    for match in ENDS.finditer(text):
        end = match.end()
    return end
