"""A body that is made while it is sent: a long export or a large file never stands in memory whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest

TURN_BYTES = 128 * 1024  # made in one turn of the database's thread


def streamed(pieces: Iterable[str | bytes], request: Any) -> Iterator[bytes] | AsyncIterator[bytes]:
    """What a StreamingHttpResponse to this request wants: asynchronous under ASGI, where an iterator of the other kind is
    read whole before the first byte leaves (and Django warns of it), plain elsewhere."""
    asked = getattr(request, "_request", request)  # REST's own request wraps Django's
    turns = _turns(iter(pieces))
    return _in_turns(turns) if isinstance(asked, ASGIRequest) else turns


def _turns(pieces: Iterator[str | bytes]) -> Iterator[bytes]:
    part, size = [], 0
    for piece in pieces:
        raw = piece.encode() if isinstance(piece, str) else piece
        part.append(raw)
        size += len(raw)
        if size >= TURN_BYTES:
            yield b"".join(part)
            part, size = [], 0
    if part:
        yield b"".join(part)


async def _in_turns(turns: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (part := await sync_to_async(lambda: next(turns, None))()) is not None:
        yield part
