"""A job's log as server-sent events: what was written, then what is, until the job has ended.

Frames: `id:` an event's number, `data:` {"event": {...}} or {"job": {...}} when its state, progress or message moved. A
reader that was cut off goes on after the last id it saw, as browsers do by themselves.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError, connections

from switchyard.core.errors import RateLimited
from switchyard.jobs.models import FINAL, Job, JobEvent
from switchyard.jobs.serializers import JobEventSerializer

LOOK_S, PING_S, LONGEST_S = 1.0, 10.0, 600.0
MOST = 500
MOST_STREAMS = 200  # of one process: each asks the database every second
END = b"event: end\ndata: {}\n\n"
_open: set[object] = set()
MOVING = ("state", "progress", "message", "eta", "device", "cost_nusd")


async def frames(job_id: str, after: int) -> AsyncIterator[bytes]:
    """Ends with `event: end` when the job has ended, without it after ten minutes: the reader comes again."""
    mine = object()
    _open.add(mine)
    try:
        async for frame in _follow(job_id, after):
            yield frame
    finally:
        _open.discard(mine)


def once(job_id: str, after: int) -> Iterator[bytes]:
    """What there is now, for a server that can't hold a stream open: the reader comes again after two seconds."""
    job, events = _look(job_id, after)
    yield b"retry: 2000\n\n"
    for event in events:
        yield _frame({"event": event}, event["id"])
    if job is not None:
        yield _frame({"job": job})
        if job["state"] in FINAL:
            yield END


def refuse_too_many() -> None:
    """Raises RateLimited when this process follows as many jobs as it may: pages then ask every two seconds."""
    if len(_open) >= MOST_STREAMS:
        raise RateLimited("Too many logs are being followed: read this one as a list.", retry_after_s=10)


async def _follow(job_id: str, after: int) -> AsyncIterator[bytes]:
    last, shown, began = after, None, time.monotonic()
    quiet_since = began
    yield b"retry: 2000\n\n"
    while time.monotonic() - began < LONGEST_S:
        job, events = await sync_to_async(_look)(job_id, last)
        for event in events:
            last = event["id"]
            yield _frame({"event": event}, last)
        if job is not None and job != shown:
            shown = job
            yield _frame({"job": job})
        if events or job is None:
            quiet_since = time.monotonic()
        elif job["state"] in FINAL:
            yield END
            return
        elif time.monotonic() - quiet_since >= PING_S:
            quiet_since = time.monotonic()
            yield b": ping\n\n"
        await asyncio.sleep(LOOK_S)


def _look(job_id: str, after: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """(what moves of the row, events after the last); the row first, so that an ended job's events are all there.

    None for a database that is away for a moment. Its connection isn't kept between looks: a reader may stay for long.
    """
    try:
        row = Job.objects.values(*MOVING).filter(pk=job_id).first() or {"state": "cancelled"}
        found = JobEvent.objects.filter(job_id=job_id, pk__gt=after).order_by("pk")[:MOST]
        return row, list(JobEventSerializer(found, many=True).data)
    except DatabaseError:
        return None, []
    finally:
        if not connections["default"].in_atomic_block:
            connections["default"].close()


def _frame(data: Any, number: int | None = None) -> bytes:
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}data: {json.dumps(data, cls=DjangoJSONEncoder)}\n\n".encode()


def after_of(request: Any) -> int:
    """The last event that the reader has seen: `Last-Event-ID` of browsers, or `?after=`."""
    text = request.headers.get("Last-Event-ID") or request.query_params.get("after") or "0"
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
