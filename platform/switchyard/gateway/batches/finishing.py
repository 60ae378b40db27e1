"""A batch's end: the files with what its lines came to, then its last state. Doing it twice is harmless."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from django.db import transaction

from modelhub.models import StoredFile
from modelhub.services import files
from switchyard.core.clock import now
from switchyard.core.errors import NotFound
from switchyard.gateway.batches.journal import Journal
from switchyard.gateway.batches.lines import lines_of, never_asked
from switchyard.gateway.models import BATCH_FINAL, Batch
from switchyard.jobs.models import FINAL

log = logging.getLogger(__name__)
EXPIRED = ("batch_expired", "This line was not asked before the batch's time was over.")
ENDED_BY = {
    "cancelled": "cancelled",
    "succeeded": "completed",
}  # state of the job → of the batch; else failed


def journal_of(batch: Batch) -> Journal:
    return Journal(batch.lob_id, batch.lob.slug, batch.pk)


def move(batch: Batch, status: str, **values: Any) -> bool:
    """To another state with its moment; False when it has ended already."""
    moments = batch.moments | {status: int(now().timestamp())}
    rows = Batch.objects.filter(pk=batch.pk).exclude(status__in=BATCH_FINAL)
    if not rows.update(status=status, moments=moments, **values):
        return False
    batch.status, batch.moments = status, moments
    for name, value in values.items():
        setattr(batch, name, value)
    return True


def finish(batch: Batch, status: str, errors: list[dict[str, Any]] | None = None) -> None:
    """Write the files of what was answered, and of an expired batch also what wasn't; then let the journal go."""
    if batch.status in BATCH_FINAL:
        return
    if status == "completed":
        move(batch, "finalizing")
    journal = journal_of(batch)
    output = _kept(batch, "output", (entry.told for entry in journal.read() if entry.ok))
    failures = _kept(batch, "error", _failures(batch, journal, expired=status == "expired"))
    with transaction.atomic():
        moved = move(
            batch, status, output_file_id=output.pk if output else "", error_file_id=failures.pk if failures else "",
            errors=errors if errors is not None else batch.errors,
        )  # fmt: skip
    if moved:
        journal.remove()
        return
    for file in (output, failures):  # somebody else finished it meanwhile
        if file is not None:
            files.delete(file)


def _failures(batch: Batch, journal: Journal, *, expired: bool) -> Iterator[dict[str, Any]]:
    yield from (entry.told for entry in journal.read() if not entry.ok)
    if not expired:
        return
    done = {entry.number for entry in journal.read()}
    try:
        for line in lines_of(files.find(batch.lob_id, batch.input_file_id)):
            if line.number not in done:
                yield never_asked(f"{batch.pk[6:]}{line.number:06d}", line.custom_id, *EXPIRED)
    except NotFound:
        log.warning("batch %s expired, and so did its file", batch.pk)


def _kept(batch: Batch, what: str, rows: Iterable[dict[str, Any]]) -> StoredFile | None:
    lines = (orjson.dumps(row) + b"\n" for row in rows)
    return files.keep_lines(batch.lob, f"{batch.pk}_{what}.jsonl", "batch_output", lines)


def finish_ended() -> int:
    """Batches whose job ended without their last word (killed once too often, cancelled while it slept); gives how many."""
    rows = (
        Batch.objects.exclude(status__in=BATCH_FINAL)
        .filter(job__state__in=FINAL)
        .select_related("job", "lob")
    )
    done = 0
    for batch in rows[:100]:
        assert batch.job is not None
        status = ENDED_BY.get(batch.job.state, "failed")
        error = {
            "code": batch.job.error_code or "internal_error",
            "message": batch.job.error or "It could not go on.",
        }
        finish(batch, status, None if status != "failed" else [error | {"param": None, "line": None}])
        done += 1
    return done
