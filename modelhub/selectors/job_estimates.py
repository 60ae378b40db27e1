"""What jobs are expected to cost, one row a kind, and how near earlier estimates came."""

from __future__ import annotations

from statistics import median
from typing import Any

from modelhub.services.job_costs import REMEMBERED_JOBS, USUAL_NS_PER_ROW
from switchyard.jobs.models import Job
from switchyard.tenancy.querysets import Scope

LOOKED_AT = 50


def estimates(scope: Scope) -> list[dict[str, Any]]:
    """Rows {"kind", "jobs", "ms_per_row", "measured", "ratio"}.

    `measured`: whether the pace is that of the last jobs here, or the one we ship; `ratio`: the median of what jobs cost
    over what they were expected to cost, None before any has ended.
    """
    rows = []
    for kind, usual in sorted(USUAL_NS_PER_ROW.items()):
        ended = Job.objects.for_tenant(scope).filter(kind=kind, state="succeeded", accelerator_ns__gt=0)
        jobs = list(ended.order_by("-finished_at")[:LOOKED_AT])
        paces = [job.accelerator_ns // job.params["rows"] for job in jobs if job.params.get("rows")]
        ratios = [job.cost_nusd / job.estimated_nusd for job in jobs if job.estimated_nusd]
        pace = median(paces[:REMEMBERED_JOBS]) if paces else usual
        rows.append({
            "kind": kind, "jobs": len(jobs), "ms_per_row": pace / 1e6, "measured": bool(paces),
            "ratio": median(ratios) if ratios else None,
        })  # fmt: skip
    return rows
