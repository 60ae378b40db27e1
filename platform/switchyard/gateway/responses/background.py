"""Responses in the background: begun at once, carried by this process, fetched or cancelled by any.

The row says what became of it. A process that dies leaves a row that counts as failed once its deadline is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from routing.contracts import KeyInfo
from switchyard.core.errors import RateLimited
from switchyard.core.ids import new_id
from switchyard.gateway.models import StoredResponse
from switchyard.gateway.responses import keeping, shape
from switchyard.gateway.responses.telling import Responses
from switchyard.gateway.threads import in_thread

log = logging.getLogger(__name__)
LOOK_S = 1.0
MOST = 256  # of one process
Send = Callable[[dict[str, Any]], Awaitable[None]]
Carry = Callable[[dict[str, Any], Send], Awaitable[None]]
_tasks: dict[str, asyncio.Task[None]] = {}


class Collected:
    """ASGI `send` that keeps what would have been sent."""

    def __init__(self) -> None:
        self.status, self._parts, self.mark = 0, [b""], ""

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = dict(message["headers"])
            name = told.get(b"x-switchyard-decision-id") or told.get(b"x-request-id") or b"_"
            self.mark = name.decode("latin-1").partition("_")[2]
        elif message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))

    @property
    def body(self) -> dict[str, Any]:
        return orjson.loads(b"".join(self._parts) or b"{}")


async def begin(dialect: Responses, chat: dict[str, Any], key: KeyInfo, carry: Carry) -> dict[str, Any]:
    """The queued response. `carry(chat, send)` takes the chat through the pipeline. Raises RateLimited.

    Its row holds what was asked only when the answer is known to be no secret: until then it holds the shape alone.
    """
    if len(_tasks) >= MOST:
        raise RateLimited("Too many responses are in the background here. Try again.", retry_after_s=5)
    response = shape.begun(dialect.body, new_id("resp").partition("_")[2], status="queued")
    await in_thread(lambda: keeping.write(response | {"instructions": None}, [], key))
    task = asyncio.get_running_loop().create_task(_work(response, dialect, chat, key, carry))
    _tasks[response["id"]] = task
    task.add_done_callback(lambda _: _tasks.pop(response["id"], None))
    return response


def stop(response_id: str) -> None:
    """End the work on it, where this process does it; another sees it in the row. May be called in a thread."""
    task = _tasks.get(response_id)
    if task is not None:
        task.get_loop().call_soon_threadsafe(task.cancel)


async def _work(
    response: dict[str, Any], dialect: Responses, chat: dict[str, Any], key: KeyInfo, carry: Carry
) -> None:
    collected = Collected()
    call = asyncio.ensure_future(carry(chat, collected))
    try:
        while not call.done():
            await asyncio.wait({call}, timeout=LOOK_S)
            if not call.done() and not await in_thread(lambda: _wanted(response["id"])):
                return
        await call
        await _finish(response, dialect, key, collected)
    except asyncio.CancelledError:
        pass
    except Exception:
        log.exception("response %s in the background failed", response["id"])
        error = {
            "code": "server_error",
            "message": "Something went wrong here. It was logged under the response's id.",
        }
        await in_thread(lambda: _end(shape.failed(response, error, []), []))
    finally:
        call.cancel()


async def _finish(response: dict[str, Any], dialect: Responses, key: KeyInfo, collected: Collected) -> None:
    """The answer into its row; restricted ones are not kept, and say so."""
    if collected.status != 200:
        await in_thread(lambda: _end(shape.failed(response, collected.body.get("error") or {}, []), []))
        return
    answered = dialect.shaped(collected.body, response["id"].partition("_")[2])
    told = answered | {"id": response["id"], "created_at": response["created_at"]}
    if not await dialect.shelf.may_keep(key, collected.mark):
        error = {
            "code": "already_answered",
            "message": "The answer may not be kept, so it can't wait for you here: ask without `background`.",
        }
        await in_thread(lambda: _end(shape.failed(response, error, []) | {"instructions": None}, []))
        return
    await in_thread(lambda: _end(told, dialect.items))


def _wanted(response_id: str) -> bool:
    return StoredResponse.objects.filter(pk=response_id, status__in=("queued", "in_progress")).exists()


def _end(response: dict[str, Any], items: list[dict[str, Any]]) -> None:
    row = StoredResponse.objects.select_related("lob").filter(pk=response["id"]).first()
    if row is not None:
        keeping.save(row, response, items)
