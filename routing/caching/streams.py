"""Streams and the cache: frames are kept as they were released, and given again as frames."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import orjson

from routing import shapes
from routing.caching.exact import KEPT_MAX_BYTES, AnswerCache, serve
from routing.run import Run
from switchyard.core.money import format_usd

if TYPE_CHECKING:
    from routing.meter import Meter


class Tape:
    """What a stream released, as long as it may still be kept."""

    __slots__ = ("_cache", "_parts", "_run", "_size")

    def __init__(self, run: Run, cache: AnswerCache) -> None:
        self._run, self._cache = run, cache
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= KEPT_MAX_BYTES:
            self._parts.append(part)
        else:
            self._parts.clear()

    def keep(self) -> None:
        """A stream that ended as it should, without its own end: usage and `[DONE]` are told anew each time."""
        parts = self._parts
        if not parts or parts[-1] != shapes.DONE:
            return
        del parts[-1]
        if self._run.request.include_usage:
            del parts[-1]
        self._cache.keep(self._run, frames=b"".join(parts))


async def replay(run: Run, meter: Meter) -> AsyncGenerator[bytes, None]:
    """The kept frames, then usage where it is asked for (with what it costs this time: nothing), then the end."""
    hit = run.hit
    assert hit is not None
    serve(run, hit)
    yield hit.frames
    await meter.finish(run)
    if run.request.include_usage:
        first = orjson.loads(hit.frames.partition(b"\n\n")[0].removeprefix(b"data: "))
        told = shapes.usage_chunk(
            first, hit.public_usage, cost_usd=format_usd(0), decision_id=run.request.decision_id
        )
        yield shapes.data_frame(told)
    yield shapes.DONE
