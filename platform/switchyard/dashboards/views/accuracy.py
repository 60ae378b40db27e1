"""How often answers are right: evaluations on held-back rows beside their baselines, and feedback over time."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpResponse
from django.utils.translation import gettext as _

from costs import charts, reports
from modelhub.models import Evaluation
from switchyard.dashboards.pages import Ask, Column, PageRequest, Panel, page, show_panels
from switchyard.dashboards.selectors import has_demonstration, latest_evaluations, workloads
from switchyard.dashboards.views import panels

# Where an evaluation's detail keeps what stands beside it → how it is called.
BASELINES = {"tfidf": "TF-IDF + logistic regression", "control": "", "always_no": "always “no”"}
EXTRAS = ("macro_f1", "recall", "precision", "calibration_error", "profit_regret", "inside_interval")


@page
def accuracy(request: PageRequest) -> HttpResponse:
    ask = request.ask
    builders = {
        "accuracy-by-lob": partial(panels.accuracy_by_lob, ask),
        "accuracy-by-workload": partial(_by_workload, ask),
        "accuracy-over-time": partial(_over_time, ask),
        "evaluations": partial(_evaluations, ask),
    }
    context = (
        {"workloads": workloads(ask), "demonstration": has_demonstration(ask)}
        if "csv" not in request.GET
        else {}
    )
    return show_panels(request, "dashboards/accuracy.html", builders, context)


def _by_workload(ask: Ask) -> Panel:
    rows = reports.accuracy(**ask.report(group="workload,side")).rows
    for row in rows:
        row["key"] = row["key"].replace("|", " · ")
    return Panel(
        "accuracy-by-workload",
        _("Accuracy by workload and side"),
        [
            Column(_("Workload")),
            Column(_("Share right"), "rate"),
            Column(_("Low"), "rate"),
            Column(_("High"), "rate"),
            Column(_("Judged"), "count"),
            Column(_("Correct"), "count"),
        ],
        [[r["key"], r["rate"], r["low"], r["high"], r["judged"], r["correct"]] for r in rows],
        charts.rate_with_interval(rows),
    )


def _over_time(ask: Ask) -> Panel:
    rows = reports.accuracy(**ask.report(group=f"{ask.period.bucket},lob")).rows
    return Panel(
        "accuracy-over-time",
        _("Feedback over time"),
        [
            Column(_("Time (UTC)")),
            Column(_("Line of business")),
            Column(_("Share right"), "rate"),
            Column(_("Low"), "rate"),
            Column(_("High"), "rate"),
            Column(_("Judged"), "count"),
        ],
        [[*r["key"].split("|", 1), r["rate"], r["low"], r["high"], r["judged"]] for r in rows],
        charts.rate_over_time(rows),
        wide=True,
    )


def _evaluations(ask: Ask) -> Panel:
    rows: list[list[Any]] = []
    for found in latest_evaluations(ask):
        rows.append(_row(found))
        rows += [line for name in BASELINES if (line := _baseline(found, name))]
    return Panel(
        "evaluations",
        _("Evaluations on held-back rows"),
        [
            Column(_("Workload")),
            Column(_("Deployment")),
            Column(_("Metric")),
            Column(_("Value"), "number"),
            Column(_("Low"), "number"),
            Column(_("High"), "number"),
            Column("n", "count"),
            Column(_("Share right"), "rate"),
            Column(_("Beside it")),
            Column(_("Verdict"), "verdict"),
        ],
        rows,
        wide=True,
        note=_(
            "Each model beside what a simple method reaches on the same rows. A verdict needs enough rows to tell them apart."
        ),
    )


def _row(found: Evaluation) -> list[Any]:
    right = found.correct / found.n if found.n else None
    deployment = f"{found.deployment.name} ({found.deployment.side}, v{found.version or '1'})"
    return [
        found.workload.name,
        deployment,
        found.metric,
        found.value,
        found.low,
        found.high,
        found.n,
        right,
        _extras(found.detail),
        found.verdict,
    ]


def _baseline(found: Evaluation, name: str) -> list[Any] | None:
    """A control as a row of its own under the model it stands beside."""
    beside = found.detail.get(name)
    if not isinstance(beside, dict) or beside.get("value") is None:
        return None
    title = BASELINES[name] or str(beside.get("name", name))
    metric = "accuracy" if name == "always_no" else found.metric
    extra = _extras(beside)
    return [
        "",
        f"↳ {title}",
        metric,
        beside["value"],
        beside.get("low"),
        beside.get("high"),
        beside.get("n"),
        None,
        extra,
        None,
    ]


def _extras(detail: dict[str, Any]) -> str:
    parts = []
    for name in EXTRAS:
        value = detail.get(name)
        value = value.get("value") if isinstance(value, dict) else value
        if isinstance(value, int | float):
            parts.append(f"{name.replace('_', ' ')} {value:.3f}")
    return ", ".join(parts)
