"""A job asking a source: in pieces small enough to stop between, each metered or booked as it is done."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelhub.recipes.endpoints import BATCH, Answers, Endpoint, Source, UselessAnswer
from modelhub.services.job_costs import book_vendor_calls
from switchyard.jobs.runner import Context

TIMED_ROWS = 40


def ask_all(
    context: Context, source: Source, inputs: list[Any], *, since: float = 0.0, until: float | None = None
) -> Answers:
    """Answers to all inputs; progress moves from `since` to `until` where that is given. Raises Stopped."""
    everything = Answers()
    for start in range(0, len(inputs), BATCH):
        context.check()
        answers = ask(context, source, inputs[start : start + BATCH])
        everything.items += answers.items
        everything.single_ms += answers.single_ms
        everything.calls += answers.calls
        if until is not None:
            done = min(1.0, (start + BATCH) / len(inputs))
            words = f"{source.name}: {len(everything.items)} of {len(inputs)} rows"
            context.progress(since + (until - since) * done, words)
    return everything


def time_singles(context: Context, source: Source, inputs: list[Any]) -> float | None:
    """The median of milliseconds that one input alone takes; None without inputs."""
    times: list[float] = []
    for item in inputs[:TIMED_ROWS]:
        context.check()
        times += ask(context, source, [item]).single_ms
    return float(np.median(times)) if times else None


def ask(context: Context, source: Source, inputs: list[Any]) -> Answers:
    """Ask, and pay for it whether the answer was of use or not. Raises UpstreamFailure."""
    try:
        answers = source.ask(inputs)
    except UselessAnswer as error:
        _pay(context, source, Answers(calls=error.calls))
        raise
    _pay(context, source, answers)
    return answers


def _pay(context: Context, source: Source, answers: Answers) -> None:
    """A vendor's calls are booked by request id at its price; compute of ours is metered and booked at the end."""
    if isinstance(source, Endpoint) and source.deployment.side == "external":
        book_vendor_calls(context.job, source.deployment, source.workload.name, answers.calls)
    else:
        context.meter.add(answers.accelerator_ns)
