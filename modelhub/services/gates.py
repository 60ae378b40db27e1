"""Gates before promotion: each gives a verdict with figures and a sentence, from what was measured of a version.

A gate is a function `(Inspection) -> GateResult`. What another module judges joins by `gate(name)`, or by its dotted path in
`LATE`: it is imported when gates run, and is `not_run` while it isn't there. All must pass before a version goes live, or
somebody who may gives a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

from django.utils.translation import gettext as _

from modelhub.models import GateReport, GateRule, GoldenSet, ModelVersion

Gate = Callable[["Inspection"], "GateResult"]
VERDICTS = ("pass", "fail", "not_enough_data", "not_run")
GATES: dict[str, Gate] = {}
# (ModelVersion) → an object or mapping with verdict, sentence, figures
LATE: dict[str, str] = {"bias": "modelhub.services.bias_gate.bias_gate"}
ORDER = ("accuracy", "bias", "cost", "latency", "self_test")
LOWER_IS_BETTER = frozenset({"rmse", "mape"})
LEAST_TIMED = 30  # calls; a 99th percentile of fewer is a guess


@dataclass(frozen=True, slots=True)
class Figures:
    """What one side did on the golden rows: its metric, cost and times, as served."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    cost_nusd_per_1000: int | None
    p50_ms: float | None
    p99_ms: float | None
    timed: int = 0


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything a gate may look at. `difference`: new less old on the same rows, above zero is better."""

    version: ModelVersion
    baseline: ModelVersion | None
    rule: GateRule
    golden: GoldenSet | None = None
    new: Figures | None = None
    old: Figures | None = None
    difference: Mapping[str, float] | None = None
    self_test: Mapping[str, Any] = field(default_factory=dict)  # check → why it failed, "" when it held


@dataclass(frozen=True, slots=True)
class GateResult:
    gate: str
    verdict: str
    sentence: str
    figures: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gate(name: str) -> Callable[[Gate], Gate]:
    """Register a gate under a name."""

    def keep(function: Gate) -> Gate:
        GATES[name] = function
        return function

    return keep


def run_gates(seen: Inspection) -> list[GateResult]:
    """Every gate's result, in order; one that breaks is `not_run` with its error: it never counts as passed."""
    names = [*ORDER, *(n for n in (*GATES, *LATE) if n not in ORDER)]
    return [_run(name, seen) for name in dict.fromkeys(names)]


def _run(name: str, seen: Inspection) -> GateResult:
    try:
        if name in GATES:
            return GATES[name](seen)
        module, _dot, function = LATE[name].rpartition(".")
        try:
            judge = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            return GateResult(name, "not_run", _("Nothing judges this yet."))
        return _read(name, judge(seen.version))
    except Exception as error:
        return GateResult(name, "not_run", _("It could not be judged: %(why)s.") % {"why": _brief(error)})


def _brief(error: Exception) -> str:
    return str(getattr(error, "message", error)).rstrip(".")[:200] or type(error).__name__


def _read(name: str, told: Any) -> GateResult:
    """Raises ValueError for a verdict that there isn't."""
    row = (
        told
        if isinstance(told, Mapping)
        else {k: getattr(told, k, None) for k in ("verdict", "sentence", "figures")}
    )
    if row["verdict"] not in VERDICTS:
        raise ValueError(f"verdict {row['verdict']!r} is none of {', '.join(VERDICTS)}")
    return GateResult(name, row["verdict"], str(row.get("sentence") or ""), dict(row.get("figures") or {}))


@gate("accuracy")
def accuracy(seen: Inspection) -> GateResult:
    """Passes when it is surely not worse than before by more than the tolerance, fails when it is surely worse and that
    can't be said."""
    new, old, tolerance = seen.new, seen.old, seen.rule.accuracy_tolerance
    if new is None:
        return GateResult("accuracy", "not_run", _("It was not asked the golden rows."))
    if old is not None and new.metric in LOWER_IS_BETTER:
        tolerance *= old.value  # of cycles or shares: the same part of what the error was
    figures = {"new": asdict(new), "old": asdict(old) if old else None, "tolerance": tolerance}
    if old is None or seen.difference is None:
        words = _(
            "%(metric)s %(value).3f on %(n)d rows; nothing answers this workload yet, so there is nothing to lose."
        )
        return GateResult("accuracy", "pass", words % _words(new), figures)
    d = dict(seen.difference)
    figures["difference"] = d
    told = {
        **_words(new),
        "before": old.value,
        "d": d["value"],
        "low": d["low"],
        "high": d["high"],
        "t": tolerance,
    }
    where = _(
        "%(metric)s %(value).3f against %(before).3f on the same %(n)d rows: %(d)+.3f [%(low)+.3f, %(high)+.3f]; "
    )
    if d["low"] >= -tolerance:
        return GateResult("accuracy", "pass", (where + _("it loses at most %(t).3f.")) % told, figures)
    if d["high"] < 0:
        return GateResult("accuracy", "fail", (where + _("it is surely worse.")) % told, figures)
    words = where + _("it may lose more than %(t).3f: more golden rows would tell.")
    return GateResult("accuracy", "not_enough_data", words % told, figures)


def _words(figures: Figures) -> dict[str, Any]:
    return {"metric": figures.metric, "value": figures.value, "n": figures.n}


@gate("cost")
def cost(seen: Inspection) -> GateResult:
    """Measured compute, or the vendor's price, of 1,000 answers against what it replaces."""
    new, old = seen.new, seen.old
    if new is None or new.cost_nusd_per_1000 is None:
        return GateResult(
            "cost", "not_run", _("Its cost isn't known: it has no price, or nothing was measured.")
        )
    figures: dict[str, Any] = {
        "new_nusd_per_1000": new.cost_nusd_per_1000,
        "most_ratio": seen.rule.most_cost_ratio,
    }
    told = {"new": new.cost_nusd_per_1000 / 1e9}
    if old is None or not old.cost_nusd_per_1000:
        words = _("$%(new).6f for 1,000 answers; there is nothing to compare it with.")
        return GateResult("cost", "pass", words % told, figures)
    ratio = new.cost_nusd_per_1000 / old.cost_nusd_per_1000
    figures |= {"old_nusd_per_1000": old.cost_nusd_per_1000, "ratio": round(ratio, 4)}
    told |= {"old": old.cost_nusd_per_1000 / 1e9, "ratio": ratio, "most": seen.rule.most_cost_ratio}
    words = _(
        "$%(new).6f for 1,000 answers against $%(old).6f: %(ratio).2f times; at most %(most).2f are allowed."
    )
    return GateResult("cost", "pass" if ratio <= seen.rule.most_cost_ratio else "fail", words % told, figures)


@gate("latency")
def latency(seen: Inspection) -> GateResult:
    """Median and 99th percentile of single answers, measured through the server, turn by turn with what it replaces."""
    new, old, rule = seen.new, seen.old, seen.rule
    if new is None or new.p50_ms is None or new.p99_ms is None:
        return GateResult("latency", "not_run", _("No answer was timed."))
    figures: dict[str, Any] = {
        "p50_ms": new.p50_ms, "p99_ms": new.p99_ms, "timed": new.timed, "most_ratio": rule.most_latency_ratio,
    }  # fmt: skip
    told = {"p50": new.p50_ms, "p99": new.p99_ms, "n": new.timed, "most": rule.most_latency_ratio}
    if rule.most_p99_ms is not None and new.p99_ms > rule.most_p99_ms:
        words = _("p99 is %(p99).1f ms; at most %(bound).1f ms are allowed.") % {
            **told,
            "bound": rule.most_p99_ms,
        }
        return GateResult("latency", "fail", words, figures)
    if new.timed < LEAST_TIMED:
        words = (
            _("p50 %(p50).1f ms and p99 %(p99).1f ms over %(n)d answers: too few for a 99th percentile.")
            % told
        )
        return GateResult("latency", "not_enough_data", words, figures)
    if old is None or not old.p50_ms or not old.p99_ms:
        words = _(
            "p50 %(p50).1f ms and p99 %(p99).1f ms over %(n)d answers; there is nothing to compare them with."
        )
        return GateResult("latency", "pass", words % told, figures)
    figures |= {"old_p50_ms": old.p50_ms, "old_p99_ms": old.p99_ms}
    slower = max(new.p50_ms / old.p50_ms, new.p99_ms / old.p99_ms)
    told |= {"p50b": old.p50_ms, "p99b": old.p99_ms, "slower": slower}
    words = _(
        "p50 %(p50).1f ms and p99 %(p99).1f ms against %(p50b).1f and %(p99b).1f over %(n)d answers each: "
    )
    words += _("at most %(slower).2f times; %(most).2f are allowed.")
    return GateResult(
        "latency", "pass" if slower <= rule.most_latency_ratio else "fail", words % told, figures
    )


@gate("self_test")
def self_test(seen: Inspection) -> GateResult:
    """Its files are the ones that were made, its server loads it, and it gives the same answers twice."""
    if not seen.self_test:
        return GateResult("self_test", "not_run", _("It was not loaded."))
    wrong = {check: why for check, why in seen.self_test.items() if why}
    figures = {"checks": {check: why or "held" for check, why in seen.self_test.items()}}
    if wrong:
        words = "; ".join(f"{check}: {why}" for check, why in wrong.items())
        return GateResult("self_test", "fail", words[:400], figures)
    words = _("Held: %(checks)s.") % {"checks": ", ".join(seen.self_test)}
    return GateResult("self_test", "pass", words, figures)


def rule_of(lob: Any) -> GateRule:
    """A line of business's bounds; the defaults, unsaved, where nobody set any."""
    return GateRule.objects.filter(lob=lob).first() or GateRule(lob=lob)


def replaced_by(version: ModelVersion) -> ModelVersion | None:
    """The live version it would take over from; where its deployment has none, the one that answers the workload at home."""
    live = ModelVersion.objects.filter(workload=version.workload, stage="live").exclude(pk=version.pk)
    own = live.filter(deployment=version.deployment).first()
    return (
        own or live.filter(deployment__enabled=True).order_by("-deployment__side", "deployment__name").first()
    )


def latest_report(version: ModelVersion) -> GateReport | None:
    return GateReport.objects.filter(version=version).order_by("-at").first()


def unmet(version: ModelVersion, report: GateReport | None = None) -> list[GateResult]:
    """What speaks against a version now: gates that didn't pass, or that were run on other files or another predecessor."""
    report = report or latest_report(version)
    if report is None:
        return [GateResult("gates", "not_run", _("Its gates have not been run: run them first."))]
    if report.digest != version.digest:
        return [
            GateResult("gates", "not_run", _("Its files changed since its gates were run: run them again."))
        ]
    before = replaced_by(version)
    if (before.pk if before else None) != report.baseline_id:
        return [
            GateResult(
                "gates", "not_run", _("Another version is live since its gates were run: run them again.")
            )
        ]
    return [GateResult(**row) for row in report.results if row["verdict"] != "pass"]
