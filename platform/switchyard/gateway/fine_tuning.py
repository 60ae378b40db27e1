"""/v1/fine_tuning/jobs: create, list, retrieve, events, checkpoints, pause, resume, cancel, as OpenAI's clients expect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from django.db import DatabaseError

from modelhub.models import Dataset, StoredFile
from modelhub.selectors.tuning_bases import target_of
from modelhub.services import files, fine_tuning
from routing import shapes
from routing.contracts import KeyInfo
from switchyard.core.errors import InvalidRequest, NotFound, RateLimited, ValidationFailed
from switchyard.gateway.bodies import read_json
from switchyard.gateway.examining import FileRefused
from switchyard.gateway.paging import page_of
from switchyard.gateway.replies import Send, encode_headers, send_json
from switchyard.gateway.threads import in_thread
from switchyard.gateway.tuning_shapes import (
    checkpoint_as_object,
    checkpoint_rows,
    event_as_object,
    event_key,
    job_as_object,
)
from switchyard.gateway.tuning_wishes import Wish, read_wish
from switchyard.jobs import services
from switchyard.jobs.models import FINAL, Job, JobEvent
from switchyard.tenancy.models import LineOfBusiness, Workload

Receive = Callable[[], Awaitable[dict[str, Any]]]
ACTIONS: dict[str, Callable[..., Job]] = {
    "cancel": services.cancel, "pause": services.pause, "resume": services.resume,
}  # fmt: skip
LOOK_S, PING_S, LONGEST_S = 1.0, 10.0, 3600.0
STOPS_WITHIN_S = 15.0
MOST_STREAMS = 64  # of one process: each asks the database every second
_streams: set[object] = set()
SSE = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}


async def handle(
    method: str, rest: str, query: Mapping[str, str], headers: dict[bytes, bytes], key: KeyInfo, receive: Receive, send: Send
) -> None:  # fmt: skip
    """Everything under /v1/fine_tuning; `rest` is the path behind it."""
    parts = rest.split("/")
    if parts[0] != "jobs" or len(parts) > 3:
        raise NotFound(f"There is no endpoint /v1/fine_tuning/{rest[:80]}.")
    job_id, tail = (parts[1:] + ["", ""])[:2]
    if not job_id and method == "POST":
        _, body = await read_json(receive, headers)
        again = headers.get(b"idempotency-key", b"").decode("latin-1")[:120]
        await send_json(send, 200, await in_thread(lambda: _create(key, read_wish(body), again)))
    elif not job_id and method == "GET":
        await send_json(send, 200, await in_thread(lambda: _list(key, query)))
    elif not tail and method == "GET":
        await send_json(send, 200, await in_thread(lambda: job_as_object(_job(key, job_id))))
    elif tail in ACTIONS and method == "POST":
        await in_thread(lambda: ACTIONS[tail](job=_job(key, job_id), user=None))
        await send_json(send, 200, job_as_object(await _settled(key, job_id, tail)))
    elif tail == "events" and method == "GET" and query.get("stream", "").lower() in ("true", "1"):
        await _stream(await in_thread(lambda: _job(key, job_id)), query, receive, send)
    elif tail == "events" and method == "GET":
        await send_json(send, 200, await in_thread(lambda: _events(_job(key, job_id), query)))
    elif tail == "checkpoints" and method == "GET":
        await send_json(send, 200, await in_thread(lambda: _checkpoints(_job(key, job_id), query)))
    else:
        raise InvalidRequest("This endpoint takes GET and POST.", code="wrong_endpoint", status=405)


# -------------------------------------------------------------------------------------------------------------- jobs
def _jobs(key: KeyInfo) -> Any:
    rows = Job.objects.filter(organisation_id=key.organisation_id, lob__slug=key.lob, kind="fine_tune")
    return rows.select_related("lob", "organisation")


def _job(key: KeyInfo, job_id: str) -> Job:
    """A neighbour's is as unknown as none. Raises NotFound."""
    job = None if "\x00" in job_id else _jobs(key).filter(pk=job_id).first()
    if job is None:
        raise NotFound(
            f"There is no fine-tuning job {job_id[:60]!r} of this line of business.",
            param="fine_tuning_job_id",
        )
    return job


async def _settled(key: KeyInfo, job_id: str, action: str) -> Job:
    """The job when it has stopped, as its runner does within seconds; later than that it is told as it is."""
    until = time.monotonic() + STOPS_WITHIN_S
    while True:
        job = await in_thread(lambda: _job(key, job_id))
        if action == "resume" or job.state != "running" or time.monotonic() > until:
            return job
        await asyncio.sleep(0.3)


def _create(key: KeyInfo, wish: Wish, again: str) -> dict[str, Any]:
    lob = LineOfBusiness.objects.select_related("organisation").get(
        organisation_id=key.organisation_id, slug=key.lob
    )
    training = _file(lob, wish.training_file, "training_file")
    validation = _file(lob, wish.validation_file, "validation_file") if wish.validation_file else None
    deployment, workload = target_of(wish.model, lob, set(training.report.get("labels", {})), wish.workload)
    dataset = _bound(training, workload, "training_file")
    held = _bound(validation, workload, "validation_file") if validation else None
    job = fine_tuning.start(
        dataset=dataset, deployment=deployment, user=None, settings=wish.settings, validation=held,
        unique_key=f"v1:{key.id}:{again}" if again else "",
        origin=fine_tuning.Origin(
            training_file=training.pk, validation_file=validation.pk if validation else "", model=wish.model,
            metadata=wish.metadata, method_type=wish.method_type, application=key.application, key=key.id,
        ),
    )  # fmt: skip
    return job_as_object(_job(key, job.pk))


def _file(lob: LineOfBusiness, file_id: str, param: str) -> StoredFile:
    try:
        return files.find(lob.pk, file_id)
    except NotFound as error:
        raise InvalidRequest(f"{error.message} Upload it with purpose fine-tune.", param=param) from None


def _bound(file: StoredFile, workload: Workload, param: str) -> Dataset:
    """The file's rows for the workload. Raises FileRefused with located faults, and as `files.bind`."""
    try:
        return files.bind(file, workload)
    except ValidationFailed as error:
        raise FileRefused(error.message, error.errors, param=param) from None


def _list(key: KeyInfo, query: Mapping[str, str]) -> dict[str, Any]:
    rows = _jobs(key)
    for name, value in query.items():
        if name.startswith("metadata[") and name.endswith("]"):
            rows = _with(rows, name[9:-1], value)
    return page_of(rows, query, job_as_object)


def _with(rows: Any, name: str, value: str) -> Any:
    """Jobs whose metadata has the pair; few jobs are looked through, so this is done here and not in the database."""
    found = [
        pk for pk, params in rows.values_list("pk", "params") if params.get("metadata", {}).get(name) == value
    ]
    return rows.filter(pk__in=found)


# ------------------------------------------------------------------------------------------------ events, checkpoints
def _events(job: Job, query: Mapping[str, str]) -> dict[str, Any]:
    return page_of(job.events.all(), query, event_as_object, newest="at", key_of=event_key)


def _checkpoints(job: Job, query: Mapping[str, str]) -> dict[str, Any]:
    rows = checkpoint_rows(job)
    return page_of(
        rows, query, lambda row: checkpoint_as_object(row, job), usual=10, newest="at",
        key_of=lambda text: event_key(text, "ftckpt-"),
    )  # fmt: skip


async def _stream(job: Job, query: Mapping[str, str], receive: Receive, send: Send) -> None:
    """Every event so far and each that comes, until the job has ended; comments while it is quiet."""
    last = _after(query.get("after", ""))
    if len(_streams) >= MOST_STREAMS:
        raise RateLimited(
            "Too many streams of events are open here: read them as pages, or try again.", retry_after_s=10
        )
    mine = object()
    _streams.add(mine)
    try:
        await _follow(job, last, receive, send)
    finally:
        _streams.discard(mine)


def _after(text: str) -> int:
    try:
        return event_key(text) if text else 0
    except ValueError:
        raise InvalidRequest(f"`after` {text[:60]!r} is not an id of this list.", param="after") from None


async def _follow(job: Job, last: int, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": encode_headers(SSE)})
    gone = asyncio.ensure_future(_hung_up(receive))
    quiet_since = began = time.monotonic()
    try:
        while not gone.done() and time.monotonic() - began < LONGEST_S:
            state, fresh = await in_thread(partial(_since, job.pk, last))
            for event in fresh:
                last = event.pk
                await _part(send, shapes.data_frame(event_as_object(event)))
            if fresh:
                quiet_since = time.monotonic()
            elif state in FINAL:
                await _part(send, shapes.DONE)
                break
            elif time.monotonic() - quiet_since >= PING_S:
                quiet_since = time.monotonic()
                await _part(send, shapes.PING)
            await asyncio.wait({gone}, timeout=LOOK_S)
        if not gone.done():
            await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


def _since(job_id: str, event_id: int) -> tuple[str, list[JobEvent]]:
    """State first: what was written before it ended is then among the events."""
    try:
        state = Job.objects.values_list("state", flat=True).filter(pk=job_id).first() or "cancelled"
        return state, list(JobEvent.objects.filter(job_id=job_id, pk__gt=event_id).order_by("pk")[:500])
    except DatabaseError:  # away for a moment: the stream stays
        return "", []


async def _part(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
