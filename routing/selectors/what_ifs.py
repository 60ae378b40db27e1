"""A what-if report as one reader may see it."""

from __future__ import annotations

from typing import Any

from routing.models import DecisionRecord, WhatIf
from switchyard.tenancy.querysets import Scope

MOST_SAMPLES = 500
_BY_LOB = ("lobs", "workloads", "movers", "not_enough")


def report_for(row: WhatIf, scope: Scope) -> dict[str, Any]:
    """The organisation's report covers everybody: a reader of some lines of business gets their rows, without totals.

    Samples are those decisions that the reader may open, as `samples` of each mover and of the crossings; the others'
    ids are left out.
    """
    report = dict(row.report)
    if not report:
        return report
    if scope.lob_slugs is not None:
        for name in _BY_LOB:
            report[name] = [r for r in report.get(name, []) if scope.allows_lob(r.get("lob", ""))]
        if row.policy.lob_id is None:
            report |= {
                "totals": None,
                "by_day": [],
                "leaves": None,
                "left_out": {},
                "requests": None,
                "changed": None,
            }
    crossings = dict(report.get("crossings") or {})
    ids = [i for mover in report.get("movers", []) for i in mover.get("sample_ids", [])] + crossings.get(
        "ids", []
    )
    own = DecisionRecord.objects.for_tenant(scope).filter(pk__in=ids[:MOST_SAMPLES])
    seen = set(own.values_list("pk", flat=True))
    report["movers"] = [_with_samples(m, "sample_ids", seen) for m in report.get("movers", [])]
    report["crossings"] = _with_samples(crossings, "ids", seen)
    return report


def truth_for(row: WhatIf, scope: Scope) -> dict[str, Any]:
    """What happened after publishing (routing.whatif.truth.as_told), narrowed in the same way."""
    truth = dict(row.truth)
    if truth and scope.lob_slugs is not None:
        truth["workloads"] = [r for r in truth.get("workloads", []) if scope.allows_lob(r.get("lob", ""))]
        if row.policy.lob_id is None:
            truth |= {"totals": None, "requests": None}
    return truth


def _with_samples(row: dict[str, Any], name: str, seen: set[str]) -> dict[str, Any]:
    kept = [i for i in row.get(name, []) if i in seen]
    return row | {name: kept, "samples": kept}
