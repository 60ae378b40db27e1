"""What a term may be, checked once for REST and the admin."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from routing.inspection.dictionaries import MAX_TERM, MAX_TERMS, MAX_WORDS, words_of

LEAST = 3  # characters; two for Chinese: shorter ones are in every text


def cleaned(given: Iterable[str]) -> list[str]:
    """Terms without their repetitions, trimmed, in their order. Raises ValueError naming the first that is none."""
    found: dict[tuple[str, ...], str] = {}
    for number, term in enumerate(given, 1):
        shown = unicodedata.normalize("NFKC", term).strip()
        words = words_of(shown)
        letters = sum(2 if "\u3400" <= c <= "\u9fff" else 1 for word in words for c in word)
        if letters < LEAST:
            raise ValueError(
                f"Term {number} ({shown[:40]!r}) is too short: at least {LEAST} letters or digits, or two Chinese characters."
            )
        if len(shown) > MAX_TERM or len(words) > MAX_WORDS:
            raise ValueError(
                f"Term {number} ({shown[:40]!r}…) is too long: at most {MAX_TERM} characters and {MAX_WORDS} words."
            )
        found.setdefault(words, shown)
        if len(found) > MAX_TERMS:
            raise ValueError(f"More than {MAX_TERMS:,} terms: split the dictionary.")
    return list(found.values())
