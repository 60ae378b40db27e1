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

REPEATED = 32  # golden rows asked a second time
SAME = 0.02  # dynamic INT8 rounds by what else is in the batch: up to 0.007 in a score was measured


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
    again = ask(context, new.source, rows.inputs[:REPEATED]).items
    for place, (before, after) in enumerate(zip(new.items, again, strict=False), start=1):
        if words := _apart(before, after):
            return f"row {place}: {words}"
    return ""


def _apart(before: dict[str, Any], after: dict[str, Any]) -> str:
    """What differs by more than rounding. A label may change only where two scores lie that close."""
    if abs(before.get("probability", 0.0) - after.get("probability", 0.0)) > SAME:
        return f"probability {before['probability']:.4f}, then {after['probability']:.4f}"
    scores = [{score["label"]: score["score"] for score in row.get("scores", ())} for row in (before, after)]
    for label, score in scores[0].items():
        if abs(score - scores[1].get(label, 0.0)) > SAME:
            return f"the score of {label} was {score:.4f}, then {scores[1].get(label, 0.0):.4f}"
    if before.get("prediction") != after.get("prediction"):
        close = "probability" in before and before["prediction"] in (0, 1)
        return "" if close else f"answered {before['prediction']!r}, then {after.get('prediction')!r}"
    if before.get("label") != after.get("label") and not scores[0]:
        return f"answered {before.get('label')!r}, then {after.get('label')!r}"
    return ""
