"""Decision records and feedback as outcomes for the guards: what failed, what was slow, what it cost, what was wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from modelhub.models import AccuracyObjective
from routing.models import DecisionRecord, Feedback
from routing.rollout.guards import Outcome, Usual
from routing.whatif.columns import REFUSALS
from switchyard.core.clock import now

AT_ONCE = 20_000  # decisions a look; what is more waits for the next
SETTLED = timedelta(seconds=30)  # a decision younger than this may still have an older one on its way
BASELINE = timedelta(days=14)
SLOW_PERCENTILE, SLOW_MARGIN = 95, 1.1
LEAST_CALIBRATION = 30
NAMES = (
    "id",
    "lob",
    "workload",
    "status",
    "error_code",
    "deployment",
    "cost_nusd",
    "latency_ms",
    "policy_version",
)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """One workload's usual cost (nano-dollars a request) and what counts as slow, frozen when the watch began."""

    cost_nusd: float
    slow_ms: float


def new_rows(organisation_id: int, lob: str | None, after: str, since: datetime) -> tuple[list[Row], str]:
    """Requests that somebody waited for, in the order of their ids, which is that of time; and the last id that was read."""
    rows = DecisionRecord.objects.filter(
        organisation_id=organisation_id, pk__gt=after, origin="live", at__gte=since, at__lte=now() - SETTLED
    )
    rows = rows.filter(lob=lob) if lob is not None else rows
    found = list(rows.order_by("pk").values(*NAMES)[:AT_ONCE])
    return [row for row in found if _asked(row)], found[-1]["id"] if found else after


def _asked(row: Row) -> bool:
    """Comparison calls answer nobody: no deployment, and nothing went wrong."""
    return bool(row["deployment"]) or row["status"] >= 400


def took_part(label: str, version: str) -> bool:
    return label in version.split("+")


def failed(row: Row) -> bool | None:
    """Refused by policy or broken upstream; None where the caller or a limit ended it."""
    if row["status"] >= 500 or row["error_code"] in REFUSALS:
        return True
    return False if row["status"] < 400 else None


def outcomes(rows: Iterable[Row], label: str, scales: Mapping[str, Scale]) -> list[Outcome]:
    found = []
    for row in rows:
        bad = failed(row)
        if bad is None:
            continue
        scale = scales.get(row["workload"])
        known = scale is not None and not bad
        found.append(
            Outcome(
                took_part(label, row["policy_version"]), row["workload"], bad,
                row["latency_ms"] > scale.slow_ms if known and scale is not None else None,
                row["cost_nusd"] / scale.cost_nusd if known and scale is not None and scale.cost_nusd > 0 else None,
            )
        )  # fmt: skip
    return found


def judged(
    organisation_id: int, lob: str | None, after: int, since: datetime, label: str
) -> tuple[list[Outcome], int]:
    """Outcomes of new feedback on answers given since the watch began, and how far it was read."""
    rows = Feedback.objects.filter(
        organisation_id=organisation_id, pk__gt=after, at__gte=since, correct__isnull=False, origin="live"
    )
    rows = rows.filter(lob=lob) if lob is not None else rows
    told = list(rows.order_by("pk").values_list("pk", "decision_id", "workload", "correct")[:AT_ONCE])
    versions = dict(
        DecisionRecord.objects.filter(
            organisation_id=organisation_id, pk__in=[t[1] for t in told]
        ).values_list("pk", "policy_version")
    )
    allowed = {
        name: 1 - target
        for name, target in AccuracyObjective.objects.filter(
            workload__organisation_id=organisation_id
        ).values_list("workload__name", "target")
    }
    found = [
        Outcome(
            took_part(label, versions[decision]), workload, wrong=not correct, allowed_wrong=allowed.get(workload)
        )
        # By when the answer was given: feedback on both versions comes as it is sent, not as they took turns.
        for _pk, decision, workload, correct in sorted(told, key=lambda t: t[1])
        if decision in versions
    ]  # fmt: skip
    return found, told[-1][0] if told else after


def before(
    organisation_id: int, lob: str | None, until: datetime, label: str | None
) -> tuple[dict[str, Scale], dict[str, Usual]]:
    """What the fortnight before was like, by workload: of everybody for the scales, of the version before for the rates."""
    rows = DecisionRecord.objects.filter(
        organisation_id=organisation_id, at__gte=until - BASELINE, at__lt=until, origin="live"
    )
    rows = rows.filter(lob=lob) if lob is not None else rows
    by_workload: dict[str, list[Row]] = {}
    for row in rows.order_by().values(*NAMES).iterator(chunk_size=2_000):
        if _asked(row):
            by_workload.setdefault(row["workload"], []).append(row)
    scales = {name: scale for name, told in by_workload.items() if (scale := _scale(told)) is not None}
    if label is None:
        return scales, {}
    wrong = _wrong(organisation_id, lob, until)
    usual = {
        name: _usual([r for r in told if took_part(label, r["policy_version"])], scales[name], wrong.get(name, (0, 0)))
        for name, told in by_workload.items()
        if name in scales
    }  # fmt: skip
    return scales, usual


def _scale(rows: Sequence[Row]) -> Scale | None:
    good = [row for row in rows if failed(row) is False]
    if len(good) < LEAST_CALIBRATION:
        return None
    slow = float(np.percentile([row["latency_ms"] for row in good], SLOW_PERCENTILE)) * SLOW_MARGIN
    return Scale(float(np.mean([row["cost_nusd"] for row in good])), slow)


def _usual(rows: Sequence[Row], scale: Scale, wrong: tuple[int, int]) -> Usual:
    told = [(row, bad) for row in rows if (bad := failed(row)) is not None]
    good = [row for row, bad in told if not bad]
    if not told or not good:
        return Usual()
    costs = np.array([row["cost_nusd"] for row in good]) / max(scale.cost_nusd, 1.0)
    n, bad = wrong
    return Usual(
        n=len(told), failed=sum(b for _row, b in told) / len(told),
        slow=float(np.mean([row["latency_ms"] > scale.slow_ms for row in good])), cost_sd=float(costs.std()),
        judged=n, wrong=bad / n if n else 0.0,
    )  # fmt: skip


def _wrong(organisation_id: int, lob: str | None, until: datetime) -> dict[str, tuple[int, int]]:
    rows = Feedback.objects.filter(
        organisation_id=organisation_id, at__gte=until - BASELINE, at__lt=until, correct__isnull=False
    )
    rows = rows.filter(lob=lob) if lob is not None else rows
    counted: dict[str, tuple[int, int]] = {}
    for workload, correct in rows.order_by().values_list("workload", "correct").iterator(chunk_size=2_000):
        n, bad = counted.get(workload, (0, 0))
        counted[workload] = (n + 1, bad + (not correct))
    return counted


def as_baseline(scales: Mapping[str, Scale], usual: Mapping[str, Usual]) -> dict[str, Any]:
    return {
        "scales": {name: asdict(s) for name, s in scales.items()},
        "usual": {name: asdict(u) for name, u in usual.items()},
    }


def from_baseline(kept: Mapping[str, Any]) -> tuple[dict[str, Scale], dict[str, Usual]]:
    return (
        {name: Scale(**s) for name, s in kept.get("scales", {}).items()},
        {name: Usual(**u) for name, u in kept.get("usual", {}).items()},
    )
