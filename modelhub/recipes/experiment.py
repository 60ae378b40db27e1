"""An experiment's arms on the same golden rows: figures, costs, lead times, differences of each two, the winner.

golden rows → ask every arm → figures → pairs → winner
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from modelhub.models import Experiment, ExperimentArm
from modelhub.recipes.sides import Entrant, Shown, compare, show_all
from modelhub.services.gates import LOWER_IS_BETTER
from modelhub.services.golden import golden_rows, needed_golden
from switchyard.core.errors import NotFound
from switchyard.jobs.models import Job
from switchyard.jobs.runner import Context


def run(context: Context) -> dict[str, Any]:
    """params: {"experiment"}. Writes each arm's figures; result: {"winner": place, "pairs": […], "n", "metric"}."""
    experiment = (
        Experiment.objects.select_related("workload__lob", "dataset", "golden")
        .filter(pk=context.params["experiment"])
        .first()
    )
    if experiment is None or experiment.workload.organisation_id != context.job.organisation_id:
        raise NotFound("The experiment of this job is gone.")
    golden = experiment.golden or needed_golden(experiment.workload)
    rows = golden_rows(golden)
    arms = [arm for arm in experiment.arms.select_related("deployment", "version") if not arm.error]
    shown = show_all(
        context, experiment.workload, [Entrant(arm.deployment, arm.version) for arm in arms], rows
    )
    context.device("; ".join(dict.fromkeys(one.source.device() for one in shown)))
    pairs = []
    for i, new in enumerate(shown):
        for j, old in enumerate(shown):
            if i > j:
                pairs.append(
                    {
                        "new": arms[i].place,
                        "old": arms[j].place,
                        **compare(experiment.workload, new, old, rows),
                    }
                )
    context.write()  # only while the job is still ours
    for arm, one in zip(arms, shown, strict=True):
        arm.figures = figures_of(experiment, arm, one)
        arm.right = "".join("1" if right else "0" for right in one.measured.right)
        arm.save(update_fields=["figures", "right"])
    best = choose(arms, shown, pairs)
    return {
        "experiment": experiment.pk, "winner": best, "pairs": pairs, "n": len(rows.truth), "metric": shown[0].measured.metric,
        "golden": golden.version,
    }  # fmt: skip


def figures_of(experiment: Experiment, arm: ExperimentArm, one: Shown) -> dict[str, Any]:
    """What the page sets side by side. Lead time: from the experiment's start, and from the rows', to a judged version."""
    job = Job.objects.filter(pk=arm.job_id).first() if arm.job_id else None
    right = one.measured.right
    made = job.finished_at if job else None
    rows_at = experiment.dataset.created_at if experiment.dataset else None
    return {
        **asdict(one.figures), "correct": int(np.sum(right)), "made_by": arm.job_id,
        "training_nusd": job.cost_nusd if job else 0,
        "trained_s": (job.finished_at - job.started_at).total_seconds() if job and job.finished_at and job.started_at else 0.0,
        "lead_s": (made - experiment.created_at).total_seconds() if made else 0.0,
        "from_rows_s": (made - rows_at).total_seconds() if made and rows_at else None,
        "ran_on": one.source.device(),
    }  # fmt: skip


def choose(arms: list[ExperimentArm], shown: list[Shown], pairs: list[dict[str, Any]]) -> int:
    """The cheapest of those that are not surely worse than the best; without prices the best."""
    sign = -1 if shown[0].measured.metric in LOWER_IS_BETTER else 1
    best = max(range(len(arms)), key=lambda i: sign * shown[i].measured.value)
    worse = {p["new"] for p in pairs if p["old"] == arms[best].place and p["high"] < 0}
    worse |= {p["old"] for p in pairs if p["new"] == arms[best].place and p["low"] > 0}
    fit = [i for i, arm in enumerate(arms) if arm.place not in worse]
    priced = [i for i in fit if shown[i].cost_nusd_per_1000 is not None]
    chosen = (
        min(priced, key=lambda i: (shown[i].cost_nusd_per_1000 or 0, -sign * shown[i].measured.value))
        if priced
        else best
    )
    return arms[chosen].place
