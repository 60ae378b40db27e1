"""The gates of one version: asked the golden rows beside what it would replace, timed, priced, tested, judged.

golden rows → ask both → self-test → judge → keep the report
"""

from __future__ import annotations

from typing import Any

from modelhub.models import GateReport, ModelVersion
from modelhub.recipes.asking import ask
from modelhub.recipes.sides import Entrant, Shown, compare, show_all
from modelhub.services.gates import Inspection, replaced_by, rule_of, run_gates
from modelhub.services.golden import golden_rows, needed_golden
from modelhub.services.self_test import check_files
from modelhub.services.validation import ValidationRows
from switchyard.core.errors import NotFound, SwitchyardError
from switchyard.jobs.runner import Context

REPEATED = 24  # golden rows asked a second time, one by one
SAME = 1e-3  # scores of one text alone and in a batch differ by rounding, not by more


def run(context: Context) -> dict[str, Any]:
    """params: {"version", "limit"?}. Writes a GateReport; result: its verdicts."""
    version = (
        ModelVersion.objects.select_related("deployment", "workload__lob")
        .filter(pk=context.params["version"])
        .first()
    )
    if version is None or version.workload.organisation_id != context.job.organisation_id:
        raise NotFound("The version of this job is gone.")
    baseline, rule = replaced_by(version), rule_of(version.workload.lob)
    golden = needed_golden(version.workload)
    rows = golden_rows(golden).first(context.params.get("limit"))
    tested = {"files": check_files(version)}
    new = old = difference = None
    if not tested["files"]:
        new, old = _shown(context, version, baseline, rows, tested)
    if new is not None and old is not None:
        difference = compare(version.workload, new, old, rows)
    seen = Inspection(
        version,
        baseline,
        rule,
        golden,
        new.figures if new else None,
        old.figures if old else None,
        difference,
        tested,
    )
    results = [result.as_dict() for result in run_gates(seen)]
    context.write()  # only while the job is still ours
    report = GateReport.objects.create(
        version=version, baseline=baseline, golden=golden, digest=version.digest, job_id=context.job.pk, results=results,
        device=context.job.device,
    )  # fmt: skip
    verdicts = {row["gate"]: row["verdict"] for row in results}
    return {
        "report": report.pk,
        "version": version.version,
        "workload": version.workload.name,
        "verdicts": verdicts,
    }


def _shown(
    context: Context,
    version: ModelVersion,
    baseline: ModelVersion | None,
    rows: ValidationRows,
    tested: dict[str, str],
) -> tuple[Shown | None, Shown | None]:
    """The version beside its predecessor; one that can't be asked fails its self-test and nothing else is judged."""
    entrants = [Entrant(version.deployment, version)]
    try:
        first = rows.first(1).inputs
        if version.workload.task in ("classification", "prediction"):
            from modelhub.recipes.local import open_source

            ask(
                context, open_source(version.deployment, version.workload, version, endpoint_only=True), first
            )
    except SwitchyardError as error:
        tested["loads"] = error.message
        return None, None
    tested["loads"] = ""
    if baseline is not None:
        entrants.append(Entrant(baseline.deployment, baseline))
    shown = show_all(context, version.workload, entrants, rows)
    context.device(shown[0].source.device())
    if version.workload.task in ("classification", "prediction"):
        tested["golden answers reproduce"] = _differs(context, shown[0], rows)
    return shown[0], shown[1] if len(shown) > 1 else None


def _differs(context: Context, new: Shown, rows: ValidationRows) -> str:
    """Why an answer is not the one that was given before to the same row; empty when all are."""
    for place, item in enumerate(rows.inputs[:REPEATED]):
        again = ask(context, new.source, [item]).items[0]
        before = new.items[place]
        words = {
            k: (before.get(k), again.get(k)) for k in ("label", "prediction") if before.get(k) != again.get(k)
        }
        if words:
            return f"row {place + 1} was answered {words} differently the second time"
        for name in ("probability",):
            if name in again and abs(again[name] - before[name]) > SAME:
                return f"row {place + 1}: {name} {before[name]:.4f}, then {again[name]:.4f}"
        for one, two in zip(before.get("scores", ()), again.get("scores", ()), strict=True):
            if abs(one["score"] - two["score"]) > SAME:
                return f"row {place + 1}: the score of {one['label']} was {one['score']:.4f}, then {two['score']:.4f}"
    return ""
