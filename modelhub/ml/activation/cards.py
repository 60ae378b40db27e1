"""Expert cards: which labels, lengths and words an expert serves, and where the busy ones are weak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelhub.ml.fairness.intervals import Interval, wilson

BUSY_TIMES = 1.0  # over an even share
SPECIAL_LIFT = 1.25  # an expert serves what it meets so much oftener than all rows do
LENGTHS = (
    (0, 16, "short (up to 15 tokens)"),
    (16, 64, "middle (16 to 63 tokens)"),
    (64, 1 << 30, "long (64 tokens and more)"),
)


@dataclass(frozen=True, slots=True)
class Rows:
    """What was observed of N rows. Shapes: counts (N, L, E); the others (N,)."""

    counts: np.ndarray
    labels: Sequence[str]
    tokens: np.ndarray
    correct: np.ndarray | None = None

    def __post_init__(self) -> None:
        sizes = {len(self.counts), len(self.labels), len(self.tokens)}
        if self.correct is not None:
            sizes.add(len(self.correct))
        if len(sizes) != 1 or self.counts.ndim != 3:
            raise ValueError(
                f"counts (N, L, E), labels, tokens and correct must be of one length, got {sizes}"
            )


@dataclass(frozen=True, slots=True)
class Served:
    """One thing an expert serves: a label or a length. `lift`: its share here over its share in all rows."""

    name: str
    share: float
    lift: float


@dataclass(frozen=True, slots=True)
class ExpertCard:
    """`load`: share of its layer; the lists are ordered by lift, the strongest first."""

    layer: int
    expert: int
    load: float
    labels: tuple[Served, ...]
    lengths: tuple[Served, ...]

    @property
    def title(self) -> str:
        """In words: `long clauses`, `card payment` …: the strongest label, and the length where it is special."""
        parts = [s.name.split(" (")[0] for s in self.lengths[:1] if s.lift >= SPECIAL_LIFT]
        parts += [s.name for s in self.labels[:2] if s.lift >= SPECIAL_LIFT]
        return ", ".join(parts) or "everything alike"


@dataclass(frozen=True, slots=True)
class WeakExpert:
    """A busy expert whose rows are answered worst, and the labels it serves beyond their part, the surely worst first."""

    layer: int
    expert: int
    load: float
    accuracy: float
    low: float
    high: float
    rows: int
    slices: tuple[tuple[str, float, int], ...]  # (label, accuracy over all its rows, how many these are)


def length_name(tokens: int) -> str:
    """Which of LENGTHS a text falls into."""
    return next(name for low, high, name in LENGTHS if low <= tokens < high)


def expert_cards(rows: Rows, *, top: int = 3) -> list[ExpertCard]:
    """A card for every expert that was used, layer by layer."""
    kinds = {"labels": list(rows.labels), "lengths": [length_name(int(t)) for t in rows.tokens]}
    found = []
    for layer in range(rows.counts.shape[1]):
        counts = rows.counts[:, layer, :].astype(np.float64)
        total = counts.sum()
        if total == 0:
            continue
        served = {kind: _served(counts, names, top) for kind, names in kinds.items()}
        load = counts.sum(axis=0) / total
        found += [
            ExpertCard(layer, e, float(load[e]), served["labels"][e], served["lengths"][e])
            for e in range(counts.shape[1])
            if load[e] > 0
        ]
    return found


def _served(counts: np.ndarray, names: Sequence[str], top: int) -> list[tuple[Served, ...]]:
    """Shapes: counts (N, E) -> for each expert the names it is used for beyond their part in all."""
    order = sorted(set(names))
    place = {name: i for i, name in enumerate(order)}
    group = np.array([place[name] for name in names])
    by_name = np.zeros((len(order), counts.shape[1]))
    np.add.at(by_name, group, counts)
    base = by_name.sum(axis=1) / by_name.sum()
    mine = by_name / np.maximum(by_name.sum(axis=0), 1e-12)
    lift = mine / np.maximum(base[:, None], 1e-12)
    found = []
    for expert in range(counts.shape[1]):
        # a name with a hundredth of the expert's work says little, however special it is
        worth = [i for i in range(len(order)) if mine[i, expert] >= 0.01]
        worth.sort(key=lambda i: -lift[i, expert])
        found.append(
            tuple(Served(order[i], float(mine[i, expert]), float(lift[i, expert])) for i in worth[:top])
        )
    return found


def weakest_busy(rows: Rows, n: int = 3, *, busy: float = BUSY_TIMES, least: int = 20) -> list[WeakExpert]:
    """The n experts with at least an even load whose rows are answered worst, each with the worst labels it serves.

    A row counts for an expert when the expert is its busiest in that layer; a label is judged by all its rows, since one
    expert is the busiest of few. Raises ValueError without `correct`.
    """
    if rows.correct is None:
        raise ValueError("weak experts need rows with `correct`")
    correct, groups = np.asarray(rows.correct, bool), _Labels.of(rows)
    found = []
    for layer in range(rows.counts.shape[1]):
        counts = rows.counts[:, layer, :]
        total = counts.sum()
        if total == 0:
            continue
        main = counts.argmax(axis=1)
        share = counts.sum(axis=0) / total
        for expert in np.flatnonzero(share * counts.shape[1] >= busy):
            mine = (main == expert) & (counts[:, expert] > 0)
            if mine.sum() < least:
                continue
            rate = wilson(int(correct[mine].sum()), int(mine.sum()))
            slices = _slices(counts[:, expert], counts.sum(axis=1), groups)
            found.append(
                WeakExpert(
                    layer,
                    int(expert),
                    float(share[expert]),
                    rate.value,
                    rate.low,
                    rate.high,
                    int(mine.sum()),
                    slices,
                )
            )
    return sorted(found, key=lambda w: w.accuracy)[:n]


@dataclass(frozen=True, slots=True)
class _Labels:
    """Rows by label. Shapes: place (N,), the label of each row; rates and rows, one a label."""

    names: list[str]
    place: np.ndarray
    rates: list[Interval]
    rows: np.ndarray

    @classmethod
    def of(cls, rows: Rows) -> _Labels:
        names, place = np.unique(np.array(rows.labels, dtype=str), return_inverse=True)
        count = np.bincount(place)
        right = np.bincount(place, weights=np.asarray(rows.correct, float)).astype(int)
        rates = [wilson(int(r), int(n)) for r, n in zip(right, count, strict=True)]
        return cls([str(name) for name in names], place, rates, count)


def _slices(
    own: np.ndarray, everyone: np.ndarray, groups: _Labels, top: int = 5
) -> tuple[tuple[str, float, int], ...]:
    """Labels that the expert serves beyond their part in all and that are not always right.

    By the upper bound of the accuracy: one wrong row of one is no worse than two wrong of ten. Shapes: own (N,), the
    expert's tokens of each row; everyone (N,), those of its whole layer.
    """
    part = np.bincount(groups.place, weights=own) / own.sum()
    whole = np.bincount(groups.place, weights=everyone) / everyone.sum()
    found = [
        (rate.high, (groups.names[i], float(rate.value), int(groups.rows[i])))
        for i, rate in enumerate(groups.rates)
        if rate.value < 1 and part[i] >= SPECIAL_LIFT * whole[i]
    ]
    return tuple(one for _, one in sorted(found)[:top])
