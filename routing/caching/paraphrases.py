"""Is the answer to one question the answer to another that means nearly the same? Pure: texts, intents and vectors in.

A semantic cache gives the answer of the nearest kept question when their vectors are similar enough. On questions of real
customers with known intents it is simulated: some are kept, the others ask. A given answer counts as right only when

- the intent is the same (77 of them; "card arrival" and "card delivery estimate" are two), **and**
- the particulars are the same: numbers, currencies, countries, kinds of card, negations. "Can I top up in euros?" is no
  answer to "Can I top up in dollars?", though both ask about the same thing.

Even that is generous: two people with one intent may need two answers. So this precision is an upper bound, and what doesn't
reach the floor under it can't be switched on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FLOOR = 0.99  # of the answers given, at least so many must be right: the interval's lower end
LEAST_SHARE = 0.01  # of the questions must be answered, or it isn't worth its look-ups
THRESHOLDS = tuple(round(0.80 + 0.01 * i, 2) for i in range(20)) + (0.995,)
Z = 1.959964  # 95 %
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_WORD = re.compile(r"[a-z']+|[$€£¥]")
_WORDS = """$ € £ ¥ usd eur gbp dollar dollars euro euros pound pounds franc yen crypto bitcoin us usa uk eu europe european
    germany france spain australia china japan america canada abroad visa mastercard amex virtual disposable physical apple
    google swift sepa cheque check cash atm salary refund fee fees free no not never can't cannot won't don't didn't isn't
    wasn't haven't hasn't doesn't without cancel cancelled declined pending reverted twice double lost stolen expired broken
    today tomorrow weekend one two three another second extra more"""
PARTICULARS = frozenset(_WORDS.split())


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What a threshold gave: of `asked` questions `served`, `same_intent` and `right` of those."""

    threshold: float
    asked: int
    served: int
    same_intent: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.served if self.served else 0.0

    @property
    def lower(self) -> float:
        """The lower end of Wilson's 95 % interval."""
        return wilson_lower(self.right, self.served)

    @property
    def share(self) -> float:
        return self.served / self.asked if self.asked else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """`verdict`: pass | fail. `threshold`: from which similarity on it may serve; None when nowhere."""

    verdict: str
    threshold: float | None
    why: str
    encoder: str  # digest of what made the vectors
    data: str
    chosen: dict[str, Any]
    confirmed: dict[str, Any]
    table: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def particulars(text: str) -> frozenset[str]:
    """What of a question may not differ if its answer is to fit another."""
    small = text.lower()
    return frozenset(_NUMBER.findall(small)) | (PARTICULARS & set(_WORD.findall(small)))


def wilson_lower(right: int, n: int) -> float:
    if not n:
        return 0.0
    p, z2 = right / n, Z * Z
    centre = p + z2 / (2 * n)
    spread = Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return (centre - spread) / (1 + z2 / n)


def simulate(
    kept: tuple[Sequence[str], Sequence[str], np.ndarray],
    asked: tuple[Sequence[str], Sequence[str], np.ndarray],
) -> list[AtThreshold]:
    """Each of `asked` (texts, intents, unit vectors (N, D)) meets the nearest of `kept`; one row a threshold."""
    similarity = np.empty(len(asked[0]), np.float32)
    nearest = np.empty(len(asked[0]), np.int64)
    for start in range(0, len(asked[0]), 512):
        block = asked[2][start : start + 512] @ kept[2].T
        nearest[start : start + 512] = block.argmax(1)
        similarity[start : start + 512] = block.max(1)
    same = np.array([asked[1][i] == kept[1][j] for i, j in enumerate(nearest)])
    alike = np.array([particulars(asked[0][i]) == particulars(kept[0][j]) for i, j in enumerate(nearest)])
    rows = []
    for threshold in THRESHOLDS:
        served = similarity >= threshold
        rows.append(
            AtThreshold(
                threshold,
                len(asked[0]),
                int(served.sum()),
                int((served & same).sum()),
                int((served & same & alike).sum()),
            )
        )
    return rows


def judge(
    chosen: Sequence[AtThreshold], confirmed: Sequence[AtThreshold], *, encoder: str, data: str
) -> Verdict:
    """The lowest threshold that meets the floor where it was chosen, held to it on questions that chose nothing."""
    fits = [row for row in chosen if row.lower >= FLOOR and row.share >= LEAST_SHARE]
    table = [_told(row) for row in confirmed]
    if not fits:
        best = max(chosen, key=lambda row: row.lower)
        why = (
            f"No threshold gives answers of which at least {FLOOR:.0%} are right for {LEAST_SHARE:.0%} of the questions; the "
            f"best is {best.precision:.1%} (at least {best.lower:.1%}) at {best.threshold:g}, for {best.share:.1%} of them."
        )
        return Verdict("fail", None, why, encoder, data, _told(best), {}, table)
    first = fits[0]
    again = next(row for row in confirmed if row.threshold == first.threshold)
    if again.lower < FLOOR:
        why = (
            f"At {first.threshold:g} {first.precision:.1%} were right where it was chosen, and {again.precision:.1%} (at least "
            f"{again.lower:.1%}, n={again.served}) on questions that chose nothing: under {FLOOR:.0%}."
        )
        return Verdict("fail", None, why, encoder, data, _told(first), _told(again), table)
    why = f"{again.precision:.1%} of {again.served} answers were right (at least {again.lower:.1%})."
    return Verdict("pass", first.threshold, why, encoder, data, _told(first), _told(again), table)


def _told(row: AtThreshold) -> dict[str, Any]:
    return asdict(row) | {
        "precision": round(row.precision, 4), "lower": round(row.lower, 4), "share": round(row.share, 4),
        "same_intent_precision": round(row.same_intent / row.served, 4) if row.served else 0.0,
    }  # fmt: skip
