"""The job of a what-if: read, decide, estimate, store with the version."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from routing.models import Policy, WhatIf
from routing.selectors import policies as read
from routing.whatif import reading
from routing.whatif.columns import Row
from routing.whatif.replay import replay
from routing.whatif.report import build
from switchyard.jobs.runner import Context

LOOK_EVERY = 20_000  # records between two looks at whether to stop


def run(context: Context) -> dict[str, Any]:
    """Recipe of kind `what_if`; `params`: {"what_if": id}."""
    row = WhatIf.objects.select_related("policy__lob", "policy__organisation", "against__lob").get(
        pk=context.params["what_if"]
    )
    row.report = report(row, looking=lambda rows: _looking(context, rows))
    row.save(update_fields=["report"])
    context.progress(1.0, f"{row.report['requests']:,} decisions replayed")
    return {
        "what_if": row.pk,
        "requests": row.report["requests"],
        "crossings": row.report["crossings"]["requests"],
    }


def report(row: WhatIf, *, looking: Any = lambda rows: rows) -> dict[str, Any]:
    """The whole report of a row's question. `looking` passes records on and may stop the work."""
    began = time.perf_counter()
    policy, lob = row.policy, row.policy.lob.slug if row.policy.lob else None
    assert row.since is not None and row.until is not None
    organisation_id = policy.organisation_id
    question = reading.question(
        organisation=policy.organisation, before=row.against, after=policy, since=row.since, until=row.until
    )
    judged = reading.judgements(organisation_id, lob, row.since, row.until)
    reader = question.reader(since=row.since, until=row.until, judged=lambda pk: judged.get(pk, (0, 0)))
    reader.read(looking(reading.records(organisation_id, lob, row.since, row.until)))
    told = build(question, replay(question, reader.traffic()))
    seconds = time.perf_counter() - began
    return {
        "policy": _named(policy), "against": _named(row.against) if row.against is not None else None,
        "from": row.since.isoformat(), "to": row.until.isoformat(), "days": row.days, **told,
        "seconds": round(seconds, 2), "rows_per_s": round(told["requests"] / seconds) if seconds else 0,
    }  # fmt: skip


def _looking(context: Context, rows: Iterable[Row]) -> Iterator[Row]:
    """Raises Stopped when somebody cancelled the job."""
    for i, row in enumerate(rows):
        if i % LOOK_EVERY == 0:
            context.check()
            context.write(message=f"{i:,} decisions read")
        yield row


def _named(policy: Policy) -> dict[str, Any]:
    return {
        "id": policy.pk, "label": read.label_of(policy), "version": policy.version, "hash": policy.hash,
        "state": policy.state,
    }  # fmt: skip
