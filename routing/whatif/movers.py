"""Who would go elsewhere, what would leave, and what must not: the parts of a report that name requests."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from routing.policy.facts import CLASSES
from routing.whatif.plans import Chain, Outcome
from routing.whatif.replay import Replayed
from switchyard.core.money import format_usd

MOST_MOVERS, MOST_SAMPLES, MOST_IDS = 20, 5, 200
HELD_CLASSES = ("confidential", "restricted")


def movers(found: Replayed) -> list[dict[str, Any]]:
    """Groups of requests whose main way changes, the largest change of cost first."""
    traffic = found.traffic
    group, requests = traffic.rows["group"], traffic.requests
    figures = {}
    for name in ("cost", "right", "answered"):
        parts = [
            side.cells.by_row(np.nan_to_num(side.estimate.cells[name]), requests)
            for side in (found.before, found.after)
        ]
        figures[name] = [np.bincount(group, part, len(traffic.groups)) for part in parts]
    count = np.bincount(group, minlength=len(traffic.groups))
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    for g, one in enumerate(traffic.groups):
        old, new = _main(found.before.outcomes[g]), _main(found.after.outcomes[g])
        if old.chain == new.chain or not count[g]:
            continue
        key = (one.lob, one.workload, new.rule, name_of(old.chain), name_of(new.chain))
        row = merged.setdefault(
            key, {"n": 0, "cost": 0.0, "right": [0.0, 0.0], "answered": [0.0, 0.0], "ids": [],
                  "sides": (_side(found, old.chain), _side(found, new.chain))},
        )  # fmt: skip
        row["n"] += int(count[g])
        row["cost"] += float(figures["cost"][1][g] - figures["cost"][0][g])
        for i in (0, 1):
            row["right"][i] += float(figures["right"][i][g])
            row["answered"][i] += float(figures["answered"][i][g])
        row["ids"] += [pk for ids in one.samples.values() for pk in ids][: MOST_SAMPLES - len(row["ids"])]
    ranked = sorted(merged.items(), key=lambda item: -abs(item[1]["cost"]))
    return [_mover(key, row) for key, row in ranked[:MOST_MOVERS]]


def _mover(key: tuple[str, ...], row: dict[str, Any]) -> dict[str, Any]:
    lob, workload, rule, source, target = key
    shares = [r / a if a else None for r, a in zip(row["right"], row["answered"], strict=True)]
    change = None if None in shares or not all(row["right"]) else round(shares[1] - shares[0], 4)
    return {
        "lob": lob, "workload": workload, "rule": rule, "from": source, "to": target, "from_side": row["sides"][0],
        "to_side": row["sides"][1], "requests": row["n"], "change_usd": format_usd(round(row["cost"])),
        "accuracy_change": change, "sample_ids": row["ids"],
    }  # fmt: skip


def name_of(chain: Chain) -> str:
    """`ext-mini`, `ext-mini, then private-sparse`, or empty for a refusal."""
    return ", then ".join(name for name, _until in chain)


def _main(outcomes: list[Outcome]) -> Outcome:
    return max(outcomes, key=lambda o: o.share)


def _side(found: Replayed, chain: Chain) -> str:
    sides = {target.name: target.side for target in found.basis.targets}
    return sides.get(chain[0][0], "") if chain else ""


def crossings(found: Replayed) -> dict[str, Any]:
    """Requests with a hop that an invariant forbids: none, unless the new version loosens one. All count, some are named."""
    count = np.bincount(found.traffic.rows["group"], minlength=len(found.traffic.groups))
    n, ids, names = 0, [], set()
    for g, outcomes in enumerate(found.after.outcomes):
        broken = {name for outcome in outcomes if outcome.share > 0 for name in outcome.crossed}
        if broken:
            n += int(count[g])
            names |= broken
            ids += [pk for kept in found.traffic.groups[g].samples.values() for pk in kept]
    return {"requests": n, "ids": ids[:MOST_IDS], "invariants": sorted(names)}


def leaves(found: Replayed) -> dict[str, dict[str, int]]:
    """Requests with confidential and restricted data whose first choice is outside."""
    count = np.bincount(found.traffic.rows["group"], minlength=len(found.traffic.groups))
    sums: dict[str, dict[str, float]] = {name: defaultdict(float) for name in HELD_CLASSES}
    for g, group in enumerate(found.traffic.groups):
        sensitivity = group.facts["data"]["sensitivity"]
        if CLASSES[sensitivity] < CLASSES[HELD_CLASSES[0]]:
            continue
        for name, outcomes in (("before", found.before.outcomes[g]), ("after", found.after.outcomes[g])):
            outside = sum(o.share for o in outcomes if _side(found, o.chain) == "external")
            sums[sensitivity][name] += outside * int(count[g])
    return {name: {when: round(row[when]) for when in ("before", "after")} for name, row in sums.items()}
