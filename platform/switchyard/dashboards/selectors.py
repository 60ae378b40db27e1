"""Small reads of pages that no app below offers."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from costs.models import SpendHour
from modelhub.models import Evaluation
from switchyard.dashboards.pages import Ask
from switchyard.tenancy.models import Workload


def has_demonstration(ask: Ask) -> bool:
    """Whether some of what the page counts comes from the replayed demonstration history."""
    rows = SpendHour.objects.for_tenant(ask.scope).filter(
        origin="demonstration", start__gte=ask.period.start, start__lt=ask.period.end
    )
    return (rows.filter(lob=ask.lob) if ask.lob else rows).exists()


def workloads(ask: Ask) -> list[Workload]:
    rows = Workload.objects.for_tenant(ask.scope).select_related("lob").order_by("lob__slug", "name")
    return list(rows.filter(lob__slug=ask.lob) if ask.lob else rows)


def what_counts_as_right(rows: list[Workload]) -> dict[str, str]:
    """LOB → "workload: what is right there; …"."""
    by_lob: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_lob[row.lob.slug].append(f"{row.name}: {row.correct_when}")
    return {slug: "; ".join(parts) for slug, parts in by_lob.items()}


def latest_evaluations(ask: Ask) -> list[Evaluation]:
    """The newest of each workload, deployment and version that the reader may see."""
    rows = Evaluation.objects.for_tenant(ask.scope).select_related("workload__lob", "deployment")
    if ask.lob:
        rows = rows.filter(workload__lob__slug=ask.lob)
    newest: dict[Any, Evaluation] = {}
    for row in rows.order_by("-at"):
        newest.setdefault((row.workload_id, row.deployment_id, row.version), row)
    return sorted(
        newest.values(), key=lambda e: (e.workload.lob.slug, e.workload.name, e.deployment.side != "private")
    )
