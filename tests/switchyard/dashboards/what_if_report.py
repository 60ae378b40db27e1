"""A what-if report as routing.whatif.services.what_if describes it, for tests of pages."""

from __future__ import annotations

from typing import Any


def metrics(factor: float = 1.0, *, enough: bool = True) -> dict[str, Any]:
    low, high = sorted((-0.004 * factor, -0.002 * factor))
    cost = {
        "before_usd": f"{0.012 * factor:.9f}", "after_usd": f"{0.009 * factor:.9f}", "change_usd": f"{-0.003 * factor:.9f}",
        "low_usd": f"{low:.9f}", "high_usd": f"{high:.9f}", "change_pct": -25.0, "low_pct": -33.3,
        "high_pct": -16.7,
    }  # fmt: skip
    known = {"before": 0.931, "after": 0.924, "change": -0.007, "low": -0.012, "high": -0.001}
    return {
        "requests": 1200, "changed": 400, "cost": cost, "cost_today": cost,
        "accuracy": (known if enough else dict.fromkeys(known)) | {
            "n": 540 if enough else 7, "verdict": "enough" if enough else "not_enough_data"},
        "latency_ms": {"before": 12.4, "after": 9.1, "change": -3.3, "low": -4.0, "high": -2.5},
        "sides": {"before": {"private": 800, "external": 390, "refused": 10},
                  "after": {"private": 400, "external": 790, "refused": 10}},
    }  # fmt: skip


def report(policy: Any, against: Any = None) -> dict[str, Any]:
    def named(row: Any) -> dict[str, Any]:
        scope = row.lob.slug if row.lob else "org"
        return {
            "id": row.pk, "label": f"{scope}@{row.version}", "version": row.version, "hash": row.hash, "state": row.state,
        }  # fmt: skip

    return {
        "policy": named(policy), "against": named(against) if against else None, "from": "2026-11-19T00:00:00+00:00",
        "to": "2026-11-26T00:00:00+00:00", "days": 7, "requests": 2400, "left_out": {"rate_limit_exceeded": 3},
        "distinct": 57, "changed": 800, "totals": metrics(2.0),
        "lobs": [{"lob": "customer-service"} | metrics(), {"lob": "legal"} | metrics(-0.4, enough=False)],
        "workloads": [
            {"lob": "customer-service", "workload": "support-intent"} | metrics(),
            {"lob": "legal", "workload": "contract-clauses"} | metrics(-0.4, enough=False),
        ],
        "by_day": [
            {"day": f"2026-11-{19 + i}", "before_usd": f"0.00{3 + i % 3}", "after_usd": f"0.00{2 + i % 2}", "requests": 340}
            for i in range(7)
        ],
        "movers": [
            {"lob": slug, "workload": workload, "rule": "edge goes out", "from": "private-sparse", "to": "ext-mini",
             "from_side": "private", "to_side": "external", "requests": 390, "change_usd": "-0.0021",
             "accuracy_change": -0.007, "sample_ids": [f"dec_{slug}_0001", f"dec_{slug}_0002"]}
            for slug, workload in (("customer-service", "support-intent"), ("legal", "contract-clauses"))
        ],
        "crossings": {"requests": 0, "ids": [], "invariants": ["restricted data stays home"]},
        "leaves": {"confidential": {"before": 0, "after": 0}, "restricted": {"before": 0, "after": 0}},
        "not_enough": [{"lob": "legal", "workload": "contract-clauses", "deployment": "ext-mini", "what": "accuracy",
                        "n": 7, "needed": 30, "requests": 120}],
        "notes": ["Queues are taken as quiet."], "seconds": 0.4, "rows_per_s": 6000,
    }  # fmt: skip
