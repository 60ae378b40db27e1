"""The pages process from within: who asks, by the front's word, and a socket for its owner only."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from switchyard.gateway.pages_headers import NotTheFront, as_the_client_asked
from switchyard.gateway.replies import Send, send_json

log = logging.getLogger(__name__)
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class PagesFront:
    """Takes the front's word on who asks, and answers /healthz itself."""

    def __init__(self, django: Callable[..., Awaitable[None]], token: bytes) -> None:
        self._django, self._token = django, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["path"] == "/healthz":
            await send_json(send, 200, {"status": "ok"})
        else:
            await self._page(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            asked = as_the_client_asked(scope, self._token)
        except NotTheFront:
            log.error(
                "the gateway's front has another SWITCHYARD_SECRET_KEY than this process; its requests are refused"
            )
            said = "The front and the pages process have different secrets: give both the same SWITCHYARD_SECRET_KEY."
            await send_json(send, 503, {"title": said, "status": 503, "code": "secrets_differ"})
            return
        await self._django(asked, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        if threading.current_thread() is threading.main_thread():  # as in the gateway
            gc.collect()
            gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


def private_socket(path: Path) -> socket.socket:
    """A listening place that only its owner may reach, mode 0600 from the first moment on.

    It takes the place of a dead process's socket in one step; of a living one's as well, whose callers then come here.
    Raises OSError where it can't be made.
    """
    temporary = path.with_name(
        f".{os.getpid()}"
    )  # no longer than the name itself: the path's length is limited
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    place = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            place.bind(str(temporary))
        finally:
            os.umask(before)
        os.replace(temporary, path)
    except OSError:
        place.close()
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return place
