"""Batches as people see them: listed, looked into, cancelled, read. Implements modelhub.batch_work.BatchKeeper."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import orjson

from modelhub.batch_work import FILES, BatchRow, LineError
from modelhub.models import StoredFile
from modelhub.services import files
from switchyard.audit.services import record
from switchyard.core.errors import Conflict, NotFound
from switchyard.gateway.batches import finishing
from switchyard.gateway.models import BATCH_FINAL, Batch
from switchyard.jobs import services
from switchyard.jobs.models import FINAL
from switchyard.tenancy.querysets import Scope


class Book:
    """The one keeper of batches; holds nothing."""

    def listed(self, scope: Scope, *, lob: str | None = None, limit: int = 100) -> list[BatchRow]:
        rows = rows_of(scope)
        return [row_of(batch) for batch in (rows.filter(lob__slug=lob) if lob else rows)[:limit]]

    def one(self, scope: Scope, batch_id: str) -> BatchRow:
        return row_of(_find(scope, batch_id))

    def line_errors(self, scope: Scope, batch_id: str, limit: int = 200) -> list[LineError]:
        batch = _find(scope, batch_id)
        return [_error_of(told) for told in islice(_failures(batch), limit)]

    def cancel(self, scope: Scope, batch_id: str, user: Any) -> BatchRow:
        return row_of(cancel(_find(scope, batch_id), user=user))

    def pieces(self, scope: Scope, batch_id: str, which: str, user: Any) -> Iterator[bytes]:
        batch = _find(scope, batch_id)
        file = _file(batch, which)
        record(
            actor=user, action="batch.read", target=f"batch:{batch.pk}", lob=batch.lob.slug,
            organisation_id=batch.organisation_id, detail={"file": file.pk, "which": which},
        )  # fmt: skip
        return files.pieces_of(file)


def rows_of(scope: Scope) -> Any:
    return Batch.objects.for_tenant(scope).select_related("lob", "job")


def row_of(batch: Batch) -> BatchRow:
    job, ended = batch.job, [batch.moments[state] for state in BATCH_FINAL if state in batch.moments]
    given = {"output": batch.output_file_id, "error": batch.error_file_id}
    return BatchRow(
        id=batch.pk, lob=batch.lob.slug, application=batch.application, endpoint=batch.endpoint, status=batch.status,
        final=batch.status in BATCH_FINAL, total=batch.total, completed=batch.completed, failed=batch.failed,
        cost_nusd=batch.cost_nusd, held_nusd=job.reserved_nusd if job else 0,
        estimated_nusd=job.estimated_nusd if job else None, job_id=batch.job_id or "", created_at=batch.created_at,
        expires_at=batch.expires_at, ended_at=datetime.fromtimestamp(max(ended), UTC) if ended else None,
        files=tuple(which for which in FILES if given[which]), errors=list(batch.errors),
    )  # fmt: skip


def cancel(batch: Batch, *, user: Any) -> Batch:
    """One that waits ends at once, one that runs within seconds. Raises Conflict for one that has ended."""
    if batch.status in BATCH_FINAL:
        raise Conflict(f"Batch {batch.pk} is {batch.status} already.", code="illegal_state")
    if batch.status != "cancelling":
        finishing.move(batch, "cancelling")
    job = batch.job
    if job is not None and job.state not in FINAL:
        job = services.cancel(job=job, user=user)
    if job is None or job.state in FINAL:
        finishing.finish(batch, "cancelled")
    return Batch.objects.select_related("lob", "job").get(pk=batch.pk)


def _find(scope: Scope, batch_id: str) -> Batch:
    batch = None if "\x00" in batch_id else rows_of(scope).filter(pk=batch_id).first()
    if batch is None:
        raise NotFound(f"There is no batch {batch_id[:60]!r}.", param="batch_id")
    return batch


def _file(batch: Batch, which: str) -> StoredFile:
    file_id = {"output": batch.output_file_id, "error": batch.error_file_id}.get(which, "")
    if not file_id:
        raise NotFound(f"Batch {batch.pk} has no such file.", param="which")
    return files.find(batch.lob_id, file_id)


def _failures(batch: Batch) -> Iterable[dict[str, Any]]:
    """Lines of the error file; while it isn't written, those of the journal."""
    if batch.status not in BATCH_FINAL:
        return (entry.told for entry in finishing.journal_of(batch).read() if not entry.ok)
    return _rows(_file(batch, "error")) if batch.error_file_id else ()


def _rows(file: StoredFile) -> Iterator[dict[str, Any]]:
    left = b""
    for piece in files.pieces_of(file):
        *lines, left = (left + piece).split(b"\n")
        yield from (orjson.loads(line) for line in lines if line)
    if left:
        yield orjson.loads(left)


def _error_of(told: dict[str, Any]) -> LineError:
    response = told.get("response") or {}
    error = told.get("error") or (response.get("body") or {}).get("error") or {}
    return LineError(
        str(told.get("custom_id", "")), response.get("status_code"), str(error.get("code") or ""),
        str(error.get("message") or "")[:500],
    )  # fmt: skip
