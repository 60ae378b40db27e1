"""Generated answers on their way out: whole, or as server-sent events once the first piece is there."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import orjson
from aiohttp import web

from modelhub.serving.generate import Generation, Generator, Shape


async def whole(generator: Generator, index: int, state: Generation) -> str:
    """All of one choice's text."""
    async with aclosing(generator.pieces(index, state)) as pieces:
        return "".join([piece async for piece in pieces])


async def stream(
    request: web.Request, body: dict[str, Any], generator: Generator, shape: Shape, states: list[Generation]
) -> web.StreamResponse:
    """The choices one after another. Raises ServingError before anything is sent where the first piece doesn't come."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
    async with aclosing(generator.pieces(0, states[0])) as first:
        # nothing is sent before the first piece: until then an error is still an answer of its own
        piece = await anext(first, None)
        await response.prepare(request)
        await _choice(response, shape, 0, states[0], first, piece)
    for index, state in enumerate(states[1:], start=1):
        async with aclosing(generator.pieces(index, state)) as pieces:
            await _choice(response, shape, index, state, pieces, None)
    if (body.get("stream_options") or {}).get("include_usage"):
        await _send(response, shape.usage_chunk(states))
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _choice(
    response: web.StreamResponse, shape: Shape, index: int, state: Generation, pieces: Any, piece: str | None
) -> None:
    if shape.chat:
        await _send(response, shape.chunk(index, "", first=True))
    if piece is not None:
        await _send(response, shape.chunk(index, piece))
    async for following in pieces:
        await _send(response, shape.chunk(index, following))
    await _send(response, shape.chunk(index, None, finish=state.finish_reason))


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
