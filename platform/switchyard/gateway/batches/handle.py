"""/v1/batches: create, list, retrieve, cancel, as OpenAI's clients expect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction

from modelhub.services import files
from routing.contracts import KeyInfo
from routing.inspection.sensitivity import declared
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest, NotFound, PolicyDenied
from switchyard.core.ids import new_id
from switchyard.core.money import format_usd
from switchyard.gateway.batches.book import cancel
from switchyard.gateway.batches.lines import ENDPOINTS
from switchyard.gateway.bodies import read_json
from switchyard.gateway.models import Batch
from switchyard.gateway.paging import page_of
from switchyard.gateway.replies import Send, send_json
from switchyard.gateway.threads import in_thread
from switchyard.jobs import services
from switchyard.tenancy.models import LineOfBusiness

WINDOW = "24h"
MOMENTS = {
    "in_progress_at": "in_progress", "finalizing_at": "finalizing", "completed_at": "completed", "failed_at": "failed",
    "expired_at": "expired", "cancelling_at": "cancelling", "cancelled_at": "cancelled",
}  # fmt: skip


async def handle(
    method: str, rest: str, query: Mapping[str, str], headers: dict[bytes, bytes], key: KeyInfo,
    receive: Callable[[], Awaitable[dict[str, Any]]], send: Send,
) -> None:  # fmt: skip
    """Everything under /v1/batches; `rest` is the path behind it."""
    batch_id, _, tail = rest.partition("/")
    if not rest and method == "POST":
        _, body = await read_json(receive, headers)
        said = declared(headers.get(b"x-switchyard-sensitivity", b"").decode("latin-1"))
        again = headers.get(b"idempotency-key", b"").decode("latin-1")[:120]
        await send_json(send, 200, await in_thread(lambda: create(key, body, said, again)))
    elif not rest and method == "GET":
        await send_json(send, 200, await in_thread(lambda: page_of(rows_of(key), query, as_object)))
    elif batch_id and not tail and method == "GET":
        await send_json(send, 200, await in_thread(lambda: as_object(find(batch_id, key))))
    elif tail == "cancel" and method == "POST":
        await send_json(send, 200, await in_thread(lambda: as_object(cancel(find(batch_id, key), user=None))))
    else:
        raise InvalidRequest("This endpoint takes GET and POST.", code="wrong_endpoint", status=405)


def rows_of(key: KeyInfo) -> Any:
    rows = Batch.objects.filter(organisation_id=key.organisation_id, lob__slug=key.lob)
    return rows.select_related("lob", "job")


def find(batch_id: str, key: KeyInfo) -> Batch:
    """A neighbour's is as unknown as none. Raises NotFound."""
    batch = None if "\x00" in batch_id else rows_of(key).filter(pk=batch_id).first()
    if batch is None:
        raise NotFound(f"There is no batch {batch_id[:60]!r} of this line of business.", param="batch_id")
    return batch


def as_object(batch: Batch) -> dict[str, Any]:
    """OpenAI's `Batch`, and what it cost so far."""
    moments = {name: batch.moments.get(state) for name, state in MOMENTS.items()}
    errors = {"object": "list", "data": batch.errors} if batch.errors else None
    return {
        "id": batch.pk, "object": "batch", "endpoint": batch.endpoint, "errors": errors, "model": None,
        "input_file_id": batch.input_file_id, "completion_window": WINDOW, "status": batch.status,
        "output_file_id": batch.output_file_id or None, "error_file_id": batch.error_file_id or None,
        "created_at": int(batch.created_at.timestamp()), "expires_at": int(batch.expires_at.timestamp()),
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "metadata": batch.metadata or None, "switchyard": {"cost_usd": format_usd(batch.cost_nusd), "job": batch.job_id},
    } | moments  # fmt: skip


# ------------------------------------------------------------------------------------------------------------- create
def create(key: KeyInfo, body: dict[str, Any], said: str, again: str) -> dict[str, Any]:
    """Raises InvalidRequest, NotFound (no such file), PolicyDenied (restricted data is never kept)."""
    endpoint, file_id, metadata = _wishes(body)
    if said == "restricted":
        raise PolicyDenied(
            "Answers of a batch are kept in files, and restricted data never is: ask for them live."
        )
    lob = LineOfBusiness.objects.select_related("organisation").get(
        organisation_id=key.organisation_id, slug=key.lob
    )
    file = files.find(lob.pk, file_id)
    if file.purpose != "batch":
        raise InvalidRequest(
            f"{file.pk} was uploaded for {file.purpose}; expected purpose batch.", param="input_file_id"
        )
    batch_id = new_id("batch")
    with transaction.atomic():
        job = services.submit_once(
            kind="batch", organisation=lob.organisation, lob=lob, unique_key=f"v1:{key.id}:{again}" if again else "",
            params={"batch": batch_id, "rows": file.report.get("rows", 0)},
        )  # fmt: skip
        if job.params["batch"] != batch_id:
            return as_object(find(job.params["batch"], key))
        batch = Batch.objects.create(
            id=batch_id, organisation=lob.organisation, lob=lob, application=key.application, key_id=key.id,
            endpoint=endpoint, declared_sensitivity=said or file.report.get("declared", ""), input_file_id=file.pk,
            metadata=metadata, total=file.report.get("rows", 0), job=job, expires_at=now() + timedelta(hours=24),
        )  # fmt: skip
        record(
            actor=None, action="batch.created", target=f"batch:{batch.pk}", lob=lob.slug,
            organisation_id=lob.organisation_id,
            detail={"endpoint": endpoint, "file": file.pk, "lines": batch.total, "application": key.application},
        )  # fmt: skip
    return as_object(batch)


def _wishes(body: dict[str, Any]) -> tuple[str, str, dict[str, str]]:
    endpoint, file_id = body.get("endpoint"), body.get("input_file_id")
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise InvalidRequest(f"`endpoint` must be one of {', '.join(ENDPOINTS)}.", param="endpoint")
    if not isinstance(file_id, str) or not file_id:
        raise InvalidRequest(
            "`input_file_id` is missing: upload a file with purpose batch.", param="input_file_id"
        )
    if body.get("completion_window") != WINDOW:
        raise InvalidRequest(f"`completion_window` must be {WINDOW}.", param="completion_window")
    metadata = body.get("metadata") or {}
    fits = isinstance(metadata, dict) and len(metadata) <= 16
    if not fits or not all(isinstance(v, str) and len(v) <= 512 for v in metadata.values()):
        raise InvalidRequest("`metadata` holds up to 16 pairs of text.", param="metadata")
    return endpoint, file_id, metadata
