"""Several versions of one workload, asked the same golden rows as their callers ask them: metric, cost, times, pairs.

ask each in batches → time them turn by turn → measure → compare in pairs
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from costs.contracts import Usage
from costs.pricing import external_charge, private_cost
from costs.selectors import price_sheets
from modelhub.ml.fairness.intervals import paired_difference
from modelhub.ml.fairness.paired import mcnemar
from modelhub.models import Deployment, ModelVersion
from modelhub.recipes import measures
from modelhub.recipes.asking import ask, ask_all
from modelhub.recipes.endpoints import Call, Source
from modelhub.recipes.local import open_source
from modelhub.recipes.measures import Measured
from modelhub.sandbox import humaneval
from modelhub.services.gates import Figures
from modelhub.services.job_costs import rate_for
from modelhub.services.validation import CODE_METRICS, ValidationRows
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload

TIMED = 120  # single calls a side: enough for a 99th percentile to mean something
UNTIMED = 3  # the first calls load the model


@dataclass(frozen=True, slots=True)
class Entrant:
    """Who is asked: a version where it is served, or a deployment's own model."""

    deployment: Deployment
    version: ModelVersion | None = None

    @property
    def name(self) -> str:
        return f"{self.deployment.name}@{self.version.version}" if self.version else self.deployment.name


@dataclass(slots=True)
class Shown:
    """What an entrant did."""

    entrant: Entrant
    source: Source
    items: list[Any]
    measured: Measured
    single: list[Call] = field(default_factory=list)
    cost_nusd_per_1000: int | None = None

    @property
    def figures(self) -> Figures:
        times = [call.duration_ms for call in self.single]
        p50, p99 = (float(np.percentile(times, q)) if times else None for q in (50, 99))
        m = self.measured
        return Figures(
            m.metric, m.value, m.low, m.high, len(m.right), self.cost_nusd_per_1000,
            round(p50, 3) if p50 is not None else None, round(p99, 3) if p99 is not None else None, len(times),
        )  # fmt: skip


def show_all(
    context: Context, workload: Workload, entrants: list[Entrant], rows: ValidationRows, *, until: float = 0.9
) -> list[Shown]:
    """Raises UpstreamFailure when one doesn't answer, Stopped when somebody asked to."""
    shown, share = [], 0.75 * until / max(1, len(entrants))
    for place, entrant in enumerate(entrants):
        source = open_source(entrant.deployment, workload, entrant.version, endpoint_only=True)
        if workload.metric in CODE_METRICS:
            shown.append(_code(context, entrant, source, rows, workload.metric))
            continue
        answers = ask_all(context, source, rows.inputs, since=share * place, until=share * (place + 1))
        measured = measures.measure(workload.name, workload.task, answers.items, rows.truth, rows.inputs)
        shown.append(Shown(entrant, source, answers.items, measured))
    if workload.metric not in CODE_METRICS:
        _time(context, shown, rows.inputs)
    for one in shown:
        one.cost_nusd_per_1000 = _cost(one)
    context.progress(until, "asked and timed")
    return shown


def _code(context: Context, entrant: Entrant, source: Source, rows: ValidationRows, metric: str) -> Shown:
    calls: list[Call] = []

    def complete(prompt: str) -> str:
        answers = ask(context, source, [prompt])
        calls.extend(answers.calls)
        return str(answers.items[0])

    result = humaneval.measure(complete, rows.inputs)
    passed = np.array([outcome == "passed" for outcome in result.outcomes.values()])
    return Shown(
        entrant, source, list(result.outcomes.values()), measures.code(passed, result.outcomes, metric), calls
    )


def _time(context: Context, shown: list[Shown], inputs: list[Any]) -> None:
    """Single calls, turn by turn and in turning order, so that a machine's mood meets all of them alike."""
    count = min(TIMED, len(inputs))
    for i in range(count + UNTIMED):
        context.check()
        for one in shown if i % 2 else reversed(shown):
            calls = ask(context, one.source, [inputs[i % count]]).calls
            if i >= UNTIMED:
                one.single += calls


def _cost(one: Shown) -> int | None:
    """Nano-dollars of 1,000 answers, one at a time: the median of measured compute at the node's rate, or the vendor's price."""
    if not one.single:
        return None
    deployment = one.entrant.deployment
    if deployment.side == "private":
        rate = rate_for(deployment.organisation_id, [deployment.name])
        usual_ns = int(np.median([call.accelerator_ns for call in one.single]))
        return private_cost(1000 * usual_ns, rate) if rate is not None and usual_ns else None
    sheet = price_sheets(deployment.organisation_id).get(deployment.name)
    if sheet is None:
        return None
    charges = [
        external_charge(
            Usage(tokens_in=c.tokens_in, tokens_out=c.tokens_out, duration_ns=int(c.duration_ms * 1e6)), sheet
        ).cost_nusd
        for c in one.single
    ]
    return round(1000 * sum(charges) / len(charges))


def compare(workload: Workload, new: Shown, old: Shown, rows: ValidationRows) -> dict[str, Any]:
    """New less old on the same rows, above zero is better: the workload's metric, and plain right answers with McNemar."""
    plain = paired_difference(new.measured.right, old.measured.right)
    test = mcnemar(new.measured.right, old.measured.right)
    own = measures.paired(
        workload.name, workload.task, new.items, old.items, rows.truth, rows.inputs
    ) or plain.as_dict(6)
    return {
        **own, "n": len(rows.truth), "metric": new.measured.metric, "right": plain.as_dict(6),
        "only_new_right": test.only_first, "only_old_right": test.only_second, "p_value": round(test.p_value, 6),
    }  # fmt: skip
