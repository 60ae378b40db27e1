"""What a decision tells of every candidate, put into words only when somebody reads it, and a decision as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, overload

import orjson

from routing.contracts import CandidateView, Decision
from routing.kept import Kept
from routing.policy.candidates import Row, Standing

_NONE: Mapping[str, float] = {}
_NULL = "null"


def _written(rows: tuple[Row, ...]) -> str:
    """The candidates as JSON, with a place for the cost of each."""
    told = [
        {"deployment": name, "side": side, "eligible": eligible, "reasons": reasons}
        for name, side, eligible, reasons in rows
    ]
    parts = [orjson.dumps(row).decode().replace("%", "%%")[:-1] + ',"cost_nusd":%s}' for row in told]
    return f"[{','.join(parts)}]"


WRITTEN = Kept(_written)


class CandidateViews(Sequence[CandidateView]):
    """The candidates of one decision. Cheap to make: nine requests in ten are never asked why."""

    __slots__ = ("_chances", "_costs", "_notes", "_planned", "_standing")

    def __init__(
        self,
        standing: Standing,
        planned: tuple[str, ...],
        costs: Mapping[str, int],
        notes: Mapping[str, str],
        chances: Mapping[str, float] = _NONE,
    ) -> None:
        self._standing, self._planned, self._costs = standing, planned, costs
        self._notes, self._chances = notes, chances

    @property
    def standing(self) -> Standing:
        return self._standing

    @property
    def chances(self) -> Mapping[str, float]:
        """By deployment, where a learned choice knew them."""
        return self._chances

    def _rows(self) -> tuple[Row, ...]:
        return self._standing.rows(self._planned, self._notes)

    def __iter__(self) -> Iterator[CandidateView]:
        for name, side, eligible, reasons in self._rows():
            yield CandidateView(
                name, side, eligible, reasons, self._costs.get(name), self._chances.get(name)  # type: ignore[arg-type]
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self._rows())

    @overload
    def __getitem__(self, at: int) -> CandidateView: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[CandidateView, ...]: ...
    def __getitem__(self, at: int | slice) -> CandidateView | tuple[CandidateView, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def for_json(self) -> Any:
        """`as_json`, where only costs differ from request to request with the rest put in as it was encoded."""
        if self._chances or self._notes is not self._standing.under_floor:
            return self.as_json()
        rows, cost = self._standing.rows(self._planned, self._notes), self._costs.get
        return orjson.Fragment(
            WRITTEN.of(rows) % tuple([_NULL if (nusd := cost(row[0])) is None else nusd for row in rows])
        )

    def as_json(self) -> list[dict[str, Any]]:
        """Costs stay nano-dollars; `chance` only where a learned choice knew one."""
        costs, chances = self._costs, self._chances
        told: list[dict[str, Any]] = [
            {"deployment": name, "side": side, "eligible": eligible, "reasons": list(reasons), "cost_nusd": costs.get(name)}
            for name, side, eligible, reasons in self._rows()
        ]  # fmt: skip
        if chances:
            for row in told:
                if row["deployment"] in chances:
                    row["chance"] = chances[row["deployment"]]
        return told


def chances_told(candidates: Sequence[CandidateView]) -> dict[str, Any] | None:
    """{"threshold", "by": {deployment: {"chance", "judged_by", "rows"}}} for a choice by each prompt's own chances, else None.

    `judged_by`: prompt, or evaluation where no chance of this prompt is known. `threshold`: None without a floor.
    """
    if not isinstance(candidates, CandidateViews) or not candidates.standing.frame.route.learned:
        return None
    standing, chances = candidates.standing, candidates.chances
    floor = standing.floor(chances) if standing.frame.route.quality_floor is not None else None
    told = {}
    for name in standing.frame.by_name:
        chance, rows = standing.chance(name, chances)
        by = "prompt" if name in chances else "evaluation" if rows else "nothing"
        told[name] = {
            "chance": round(chance, 4) if by != "nothing" else None, "judged_by": by, "rows": rows if by != "prompt" else None,
        }  # fmt: skip
    return {"threshold": None if floor is None else round(floor, 4), "by": told}


def candidates_as_json(candidates: Sequence[CandidateView]) -> list[dict[str, Any]]:
    if isinstance(candidates, CandidateViews):
        return candidates.as_json()
    return [
        {
            "deployment": c.deployment, "side": c.side, "eligible": c.eligible, "reasons": list(c.reasons),
            "cost_nusd": c.cost_nusd, **({"chance": c.chance} if c.chance is not None else {}),
        }
        for c in candidates
    ]  # fmt: skip


def candidates_for_json(candidates: Sequence[CandidateView]) -> Any:
    """The same for orjson, which takes it as it is."""
    return candidates.for_json() if type(candidates) is CandidateViews else candidates_as_json(candidates)


def decision_as_json(decision: Decision) -> dict[str, Any]:
    """For events, `try` and pages; costs stay nano-dollars."""
    return {
        "rule": decision.rule,
        "refusal": decision.refusal,
        "hops": [
            {
                "deployment": h.deployment, "hop": h.hop, "worst_case_nusd": h.worst_case_nusd,
                "until": h.until_confidence, "masked": h.masked,
            }
            for h in decision.hops
        ],
        "shadows": list(decision.shadows),
        "trace": [{"rule": t.rule, "matched": t.matched, "reason": t.reason} for t in decision.trace],
        "candidates": candidates_as_json(decision.candidates),
        "cache": asdict(decision.cache) if decision.cache is not None else None,
        "policy": {"version": decision.policy_version, "hash": decision.policy_hash},
    }  # fmt: skip
