"""A company with real attempts behind it: two lines of business, one machine, a fortnight of whole days."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from costs.models import Attempt, NodeInterval
from costs.rollups import refresh
from switchyard.core.clock import now
from switchyard.tenancy.querysets import Scope
from tests import factories as make


@dataclass
class Planned:
    organisation: Any
    lobs: dict[str, Any]
    start: datetime
    end: datetime

    @property
    def everybody(self) -> Scope:
        return Scope(self.organisation.pk, None, None, frozenset({"admin"}))

    @property
    def service_only(self) -> Scope:
        lob = self.lobs["customer-service"]
        return Scope(self.organisation.pk, frozenset({lob.pk}), frozenset({lob.slug}), frozenset({"viewer"}))

    def span(self) -> dict[str, datetime]:
        return {"start": self.start, "end": self.end}


def plan_company(days: int = 14, a_day: int = 40, **node: Any) -> Planned:
    """Each day `a_day` answers of support-intent on both sides and of contract-clauses at home. 5 ms of the machine and,
    outside, 1,400 nano-dollars an answer; contract-clauses may not leave."""
    organisation = make.make_organisation()
    lobs = {slug: make.make_lob(organisation, slug) for slug in ("customer-service", "legal")}
    make.make_workload(lobs["customer-service"], "support-intent")
    make.make_workload(lobs["legal"], "contract-clauses", sensitivity="confidential")
    make.make_node(organisation, "node-1", **{"usd_per_hour": "0.10", "planned_utilisation": "0.5"} | node)
    end = now().replace(hour=0, minute=0, second=0, microsecond=0)
    planned = Planned(organisation, lobs, end - timedelta(days=days), end)
    for slug, side in (
        ("customer-service", "private"),
        ("customer-service", "external"),
        ("legal", "private"),
    ):
        add_answers(planned, slug, side, a_day)
    return planned


def add_answers(
    planned: Planned, lob: str, side: str, a_day: int, service_ns: int = 5_000_000, **changes: Any
) -> None:
    """Poisson arrivals over every day of the period, and the hours of the machine that they fill."""
    random, pk = np.random.default_rng(len(lob) + len(side)), planned.organisation.pk
    days = (planned.end - planned.start).days
    offsets = np.sort(random.random(days * a_day)) * days * 86_400
    private, known = side == "private", lob == "customer-service"
    prefix = f"req_{pk}_{lob}_{side}_{Attempt.objects.count()}"
    rows = [
        Attempt(
            **{
                "request_id": f"{prefix}_{i}", "organisation_id": pk,
                "at": planned.start + timedelta(seconds=float(offset)), "lob": lob, "application": "desk",
                "workload": "support-intent" if known else "contract-clauses",
                "deployment": "private-sparse" if private else "ext-mini", "side": side,
                "model": "txt-base" if private else "txt-edge", "node": "node-1" if private else "",
                "accelerator_ns": service_ns if private else 0, "duration_ms": service_ns / 1e6 + 1,
                "price_version": "x", "cost_nusd": 278 if private else 1400,
                "other_side_cost_nusd": (1400 if private else 278) if known else None,
            } | changes
        )
        for i, offset in enumerate(offsets)
    ]  # fmt: skip
    Attempt.objects.bulk_create(rows, batch_size=2000)
    hours = {row.at.replace(minute=0, second=0, microsecond=0) for row in rows}
    if hours:
        refresh(min(hours), max(hours))


def bill_hours(planned: Planned, node: str = "node-1", nusd: int = 100_000_000) -> None:
    hours = int((planned.end - planned.start).total_seconds() // 3600)
    NodeInterval.objects.bulk_create(
        NodeInterval(
            organisation_id=planned.organisation.pk, node=node, start=planned.start + timedelta(hours=i),
            bill_nusd=nusd, used_nusd=0, idle_nusd=nusd,
        )
        for i in range(hours)
    )  # fmt: skip
