"""A stream on its way out: frames as they come, comments while it is quiet, and an end for whoever goes or takes nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from routing import shapes
from routing.run import Run
from switchyard.core.conf import conf
from switchyard.core.errors import Unavailable
from switchyard.gateway.replies import Send

Receive = Callable[[], Awaitable[dict[str, Any]]]
PING_S = 10.0


class ShuttingDown(Unavailable):
    """This process was told to stop; another answers."""

    retry_after_s = 1.0


async def relayed(
    run: Run, frames: AsyncGenerator[bytes, None], receive: Receive, send: Send, drained: asyncio.Future[None]
) -> bool:
    """Send the frames, and a comment after each PING_S of silence. True when the caller hung up, or was hung up on.

    A watcher beside it cancels the wait for the next frame when the caller goes, takes nothing for UNTAKEN_MAX_S, or this
    process must stop: a task a stream costs less than one a frame.
    """
    task = asyncio.current_task()
    assert task is not None
    sent = time.monotonic()
    taken, stopped, left = True, False, False

    async def watch() -> None:
        nonlocal stopped, left
        gone = asyncio.ensure_future(_disconnected(receive))
        ends: set[asyncio.Future[None]] = {gone, drained}
        patience = conf("UNTAKEN_MAX_S")
        try:
            while not (gone.done() or drained.done()):
                quiet = time.monotonic() - sent
                if not taken and quiet >= patience:
                    hang_up(receive)
                    break
                if taken and quiet >= PING_S:
                    ping = asyncio.ensure_future(_ping(send))
                    await asyncio.wait({ping, *ends}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                    if not ping.done():
                        ping.cancel()
                        if not (gone.done() or drained.done()):
                            hang_up(receive)
                        break
                    quiet = 0.0
                wait_s = (PING_S if taken else patience) - quiet
                await asyncio.wait(ends, timeout=min(PING_S, wait_s), return_when=asyncio.FIRST_COMPLETED)
            left, stopped = gone.done() or not drained.done(), True
            if not left:
                run.error_code = ShuttingDown.code
            task.cancel()
        finally:
            gone.cancel()

    watcher = asyncio.ensure_future(watch())
    try:
        async for part in frames:
            sent, taken = time.monotonic(), False
            await send({"type": "http.response.body", "body": part, "more_body": True})
            taken = True
    except asyncio.CancelledError:
        if not stopped:
            raise
        task.uncancel()
    finally:
        watcher.cancel()
    return left


async def _ping(send: Send) -> None:
    await send({"type": "http.response.body", "body": shapes.PING, "more_body": True})


def hang_up(receive: Receive) -> None:
    """Drop the connection of a caller who takes nothing: closing it would wait for him to read what is buffered."""
    while (inner := getattr(receive, "__wrapped__", None)) is not None:
        receive = inner
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
