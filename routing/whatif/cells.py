"""Requests and attempts summed up for estimating: by workload, stratum, where they went and where they would go. Pure numpy.

A *cell* is a set of requests that are estimated alike; its sums are kept by block (a day), so that any number of resamplings of
days is one matrix product each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.whatif.columns import NOBODY, Traffic
from routing.whatif.plans import Chain, Outcome

MOST_STRATA = 40  # a workload; the rarest share one
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
UNKNOWN, UNDER, REACHED = 2, 1, 0  # how a first answer's confidence stands to the next version's threshold


@dataclass(frozen=True)
class Strata:
    """`workload` and `stratum` of every group, by number; `names`: (line of business, workload) of each workload."""

    names: list[tuple[str, str]]
    workload: Ints
    stratum: Ints
    width: int  # strata of the widest workload


def strata_of(traffic: Traffic) -> Strata:
    """Groups of one workload that differ in a tested fact, a size or who could answer; the rarest together."""
    names: dict[tuple[str, str], int] = {}
    workload = np.array([names.setdefault((g.lob, g.workload), len(names)) for g in traffic.groups], np.int64)
    count = np.bincount(traffic.rows["group"], minlength=len(traffic.groups))
    stratum = np.zeros(len(traffic.groups), np.int64)
    for w in range(len(names)):
        members = np.flatnonzero(workload == w)
        weight: dict[Any, int] = {}
        for g in members:
            key = traffic.groups[g].stratum
            weight[key] = weight.get(key, 0) + int(count[g])
        ranked = sorted(weight, key=lambda key: -weight[key])
        place = {key: min(i, MOST_STRATA - 1) for i, key in enumerate(ranked)}
        stratum[members] = [place[traffic.groups[g].stratum] for g in members]
    return Strata(list(names), workload, stratum, int(stratum.max(initial=0)) + 1)


@dataclass(frozen=True)
class Cells:
    """One arm's requests. Columns of `key`: workload, stratum, segment, first, last, escalated, reached, chain.

    `sums`: name → (cells, blocks); shares of requests, so they needn't be whole. `rows`: (row, its share, its cell), a row
    as often as there are ways it goes.
    """

    key: Ints
    chains: list[Chain]
    sums: dict[str, Floats]
    rows: tuple[Ints, Floats, Ints]

    def by_row(self, values: Floats, requests: int) -> Floats:
        """Each row's part of what its cells come to, from a figure per request of each cell."""
        row, share, cell = self.rows
        return np.bincount(row, share * values[cell], minlength=requests)


COLUMNS = ("workload", "stratum", "segment", "first", "last", "escalated", "reached", "chain")
SUMMED = ("cost", "latency", "size")


def cells_of(traffic: Traffic, strata: Strata, outcomes: Sequence[Sequence[Outcome]], blocks: int) -> Cells:
    """`outcomes`: one list a group, as routing.whatif.plans.decide_group gives them."""
    chains: dict[Chain, int] = {}
    keys, taken_all, weights = [], [], []
    rows = traffic.rows
    for place in range(max(map(len, outcomes), default=0)):
        share = np.array([o[place].share if place < len(o) else 0.0 for o in outcomes])
        chain = np.array(
            [chains.setdefault(o[place].chain, len(chains)) if place < len(o) else 0 for o in outcomes], np.int64
        )  # fmt: skip
        taken = np.flatnonzero(share[rows["group"]] > 0)
        group = rows["group"][taken]
        until = np.array([c[0][1] if c and c[0][1] is not None else np.nan for c in chains])[chain[group]]
        key = np.stack(
            [
                strata.workload[group], strata.stratum[group], *(rows[n][taken] for n in COLUMNS[2:6]),
                _reached(rows["confidence"][taken], until), chain[group],
            ],
            axis=1,
        )  # fmt: skip
        keys.append(key)
        taken_all.append(taken)
        weights.append(share[group])
    if not keys:
        empty = np.zeros(0, np.int64)
        nothing = {n: np.zeros((0, blocks)) for n in ("n", *SUMMED)}
        return Cells(np.zeros((0, len(COLUMNS)), np.int64), [], nothing, (empty, np.zeros(0), empty))
    row, weight = np.concatenate(taken_all), np.concatenate(weights)
    key, cell = unique_rows(np.concatenate(keys))
    place = cell * blocks + rows["block"][row]
    shape = (len(key), blocks)
    sums = {
        name: np.bincount(place, weight if name == "n" else weight * rows[name][row], shape[0] * shape[1]).reshape(shape)
        for name in ("n", *SUMMED)
    }  # fmt: skip
    return Cells(key, list(chains), sums, (row, weight, cell))


def _reached(confidence: Floats, until: Floats) -> Ints:
    """0 where no threshold is asked for, or it was reached; 1 under it; 2 where nobody knows."""
    unknown = np.isnan(confidence) & ~np.isnan(until)
    with np.errstate(invalid="ignore"):
        under = ~np.isnan(until) & (confidence < until)
    return np.where(unknown, UNKNOWN, np.where(under, UNDER, REACHED)).astype(np.int64)


def unique_rows(table: Ints) -> tuple[Ints, Ints]:
    """(the different rows, which of them each row is). Small whole numbers ≥ −1 in each column."""
    packed = np.zeros(len(table), np.int64)
    for column in table.T:
        low, high = int(column.min(initial=0)), int(column.max(initial=0))
        packed = packed * (high - low + 1) + (column - low)
        packed = np.unique(packed, return_inverse=True)[1].reshape(-1)
    _, first, which = np.unique(packed, return_index=True, return_inverse=True)
    return table[first], which.reshape(-1)


@dataclass(frozen=True)
class Measured:
    """What was measured of one workload. Sums by block: (blocks, deployments, strata); confidences (blocks, deployments)."""

    sums: dict[str, Floats]


MEASURED = ("n", "size", "tokens_in", "tokens_out", "accelerator_ns", "ms", "cost")


def measured_of(traffic: Traffic, strata: Strata, deployments: int) -> list[Measured]:
    """One a workload: its attempts that ended well, and its judged answers."""
    tries, rows = traffic.tries, traffic.rows
    shape = (traffic.blocks, deployments, strata.width)
    found = []
    for w in range(len(strata.names)):
        mine = np.flatnonzero(strata.workload[tries["group"]] == w)
        place = _place(tries, mine, "deployment", strata, shape)
        sums = {
            name: np.bincount(place, None if name == "n" else tries[name][mine], minlength=np.prod(shape)).reshape(shape)
            for name in MEASURED
        }  # fmt: skip
        judged = np.flatnonzero(
            (strata.workload[rows["group"]] == w) & (rows["judged"] > 0) & (rows["last"] != NOBODY)
        )
        place = _place(rows, judged, "last", strata, shape)
        for name in ("judged", "correct"):
            sums[name] = np.bincount(place, rows[name][judged], minlength=np.prod(shape)).reshape(shape)
        found.append(Measured({name: values.astype(np.float64) for name, values in sums.items()}))
    return found


def _place(
    columns: dict[str, NDArray[Any]],
    which: Ints,
    deployment: str,
    strata: Strata,
    shape: tuple[int, int, int],
) -> Ints:
    block, stratum = columns["block"][which], strata.stratum[columns["group"][which]]
    return (block * shape[1] + columns[deployment][which]) * shape[2] + stratum


@dataclass(frozen=True)
class Escalation:
    """How a first answer stood to a threshold, by block: asked, under it, and of those over it how many were right."""

    asked: Floats
    under: Floats
    judged: Floats
    correct: Floats


def escalation_of(
    traffic: Traffic, strata: Strata, workload: int, deployment: int, until: float
) -> Escalation:
    """Of requests that `deployment` answered first and whose confidence is known."""
    rows = traffic.rows
    mine = (strata.workload[rows["group"]] == workload) & (rows["first"] == deployment)
    escalated = mine & (rows["escalated"] == 1)
    with np.errstate(invalid="ignore"):
        low = mine & (rows["escalated"] == 0) & (rows["last"] == deployment) & (rows["confidence"] < until)
        high = mine & (rows["escalated"] == 0) & (rows["last"] == deployment) & (rows["confidence"] >= until)

    def by_block(which: NDArray[np.bool_], amounts: Any = None) -> Floats:
        found = np.bincount(rows["block"][which], None if amounts is None else amounts[which], traffic.blocks)
        return found.astype(np.float64)

    return Escalation(
        by_block(escalated | low | high), by_block(escalated | low), by_block(high, rows["judged"]),
        by_block(high, rows["correct"]),
    )  # fmt: skip
