"""`Idempotency-Key`: the same question under the same key is answered, and paid for, once.

Who comes first claims the key in Valkey for as long as a request may live; who comes while it is being answered waits and
gets that answer. What is kept is sealed under the line of business's key, for ten minutes, never for restricted work. Only
a whole answer is kept: an error, or a stream that broke off, frees the key for another try.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag

from costs.link import LinkDown, ValkeyLink
from routing.contracts import KeyInfo
from routing.intake.parsing import SURFACE
from routing.run import Run
from switchyard.core.conf import conf
from switchyard.core.crypto import open_for_lob, seal_for_lob
from switchyard.core.errors import Conflict, InvalidRequest, Unavailable
from switchyard.core.ids import new_id
from switchyard.gateway.bodies import handed_on, instead, read_json

log = logging.getLogger(__name__)
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
HEADER = b"idempotency-key"
KEY_MAX = 255
KEPT_MAX_BYTES = 1024 * 1024  # an answer larger than this isn't kept: its replay is refused
FIRST_LOOK_S, SLOWEST_LOOK_S = 0.02, 0.25
# What else makes it another question: limits, and the endpoint that its caller knows where it was translated.
ALSO_ASKED = (b"x-switchyard-sensitivity", b"x-switchyard-max-cost-usd", SURFACE)
# Each answer speaks of its own moment: limits, and what this very call cost.
OF_THE_MOMENT = (b"x-ratelimit-", b"x-switchyard-cost-usd", b"x-request-id", b"x-switchyard-overhead-ms")

# sy:idem:<digest>  hash f fingerprint · o owner · s open|done|gone · b sealed answer · y why it is gone
CLAIM = b"""
local v = redis.call('HMGET', KEYS[1], 'f', 's', 'b', 'y')
if not v[1] then
  redis.call('HSET', KEYS[1], 'f', ARGV[1], 'o', ARGV[2], 's', 'open')
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'mine', '', ''}
end
if v[1] ~= ARGV[1] then return {'other', '', ''} end
return {v[2], v[3] or '', v[4] or ''}
"""
FINISH = b"""
if redis.call('HGET', KEYS[1], 'o') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 's', ARGV[2], 'b', ARGV[3], 'y', ARGV[4])
return redis.call('PEXPIRE', KEYS[1], ARGV[5])
"""
GONE = {
    "restricted": "The answer to restricted data isn't kept, so it can't be given again.",
    "large": "The answer was larger than 1 MiB and wasn't kept, so it can't be given again.",
}


@dataclass(slots=True)
class Watched:
    """The run behind an answer, once there is one: what it found decides whether the answer may be kept."""

    run: Run | None = None

    @property
    def whole(self) -> bool:
        return self.run is not None and self.run.status == 200 and not self.run.error_code

    @property
    def restricted(self) -> bool:
        """Also what an invariant forbids to keep for another asking."""
        run = self.run
        return run is None or run.facts is None or not run.world.policies.keeps(run.facts, "cache")


Inner = Callable[[Receive, Send, Watched], Awaitable[None]]


class Idempotency:
    """One per process."""

    def __init__(self, url: str) -> None:
        self._link = ValkeyLink(url)

    def close(self) -> None:
        self._link.close()

    async def answer(
        self,
        endpoint: str,
        headers: Mapping[bytes, bytes],
        key: KeyInfo,
        receive: Receive,
        send: Send,
        inner: Inner,
    ) -> None:
        """Answer by `inner` once, or give what it answered. Raises Conflict, InvalidRequest or Unavailable."""
        raw, body = await read_json(receive, dict(headers))
        name, asked = place_of(headers[HEADER], key), fingerprint(endpoint, headers, body)
        owner = new_id("idem")
        kept = await self._claim(name, asked, owner)
        if kept is not None:
            await _replay(kept, key.lob, send)
            return

        async def whole() -> dict[str, Any]:
            return handed_on(raw, body)

        watched = Watched()
        recorder = _Recorder(send, lambda answer: self._keep(name, owner, key.lob, watched, answer))
        try:
            await inner(instead(whole, receive), recorder, watched)
        finally:
            if not recorder.kept:
                await asyncio.shield(self._finish(name, owner, "", b"", ""))

    async def _claim(self, name: str, asked: str, owner: str) -> bytes | None:
        """None: it is ours to answer; else what was kept. Waits while another request answers it."""
        wait_s, pause_s = conf("IDEMPOTENCY_WAIT_S"), FIRST_LOOK_S
        until = time.monotonic() + wait_s
        while True:
            lease_ms = int(1000 * conf("RESERVATION_LEASE_S"))
            state, sealed, why = await self._call(CLAIM, name, asked, owner, str(lease_ms))
            if state == b"mine":
                return None
            if state == b"other":
                raise Conflict(
                    "This Idempotency-Key was used for another request. Send the same body, or another key.",
                    code="idempotency_conflict",
                    param="Idempotency-Key",
                )
            if state == b"gone":
                raise Conflict(
                    GONE[why.decode()]
                    + " The first call was answered and paid for; send another key to ask anew.",
                    code="already_answered",
                    param="Idempotency-Key",
                )
            if state == b"done":
                return sealed
            if time.monotonic() >= until:
                raise Conflict(
                    f"A request under this Idempotency-Key is still being answered after {wait_s:g} s. Ask again: "
                    "its answer is kept.",
                    code="idempotency_in_progress", param="Idempotency-Key", retry_after_s=2,
                )  # fmt: skip
            await asyncio.sleep(pause_s)
            pause_s = min(SLOWEST_LOOK_S, pause_s * 1.5)

    async def _call(self, script: bytes, name: str, *args: str | bytes) -> list[bytes]:
        try:
            return await self._link.call("EVAL", script, "1", f"sy:idem:{name}", *args)
        except (LinkDown, RuntimeError) as error:
            raise Unavailable(
                "Where Idempotency-Keys are kept can't be reached, so that one charge can't be promised. Try again, or "
                "send the request without the header.",
                code="idempotency_unavailable", retry_after_s=2,
            ) from error  # fmt: skip

    async def _keep(self, name: str, owner: str, lob: str, watched: Watched, answer: bytes) -> bool:
        if not watched.whole:
            return False
        why = "restricted" if watched.restricted else "large" if len(answer) > KEPT_MAX_BYTES else ""
        sealed = b"" if why else seal_for_lob(lob, answer).encode()
        return await self._finish(name, owner, "gone" if why else "done", sealed, why)

    async def _finish(self, name: str, owner: str, state: str, sealed: bytes, why: str) -> bool:
        """Never raises: the answer was given, and a key that can't be marked is freed by its lease."""
        ttl_ms = str(int(1000 * conf("IDEMPOTENCY_TTL_S")))
        try:
            await self._link.call("EVAL", FINISH, "1", f"sy:idem:{name}", owner, state, sealed, why, ttl_ms)
        except (LinkDown, RuntimeError):
            log.exception("an Idempotency-Key could not be marked as %s", state or "free")
        return True


def place_of(header: bytes, key: KeyInfo) -> str:
    """Where a key of this application is kept: rotating an API key doesn't lose it, a neighbour never meets it."""
    text = header.decode("latin-1").strip()
    if not text or len(text) > KEY_MAX or not text.isprintable():
        raise InvalidRequest(
            f"Idempotency-Key must be 1 to {KEY_MAX} printable characters, for instance a UUID.",
            param="Idempotency-Key",
        )
    scope = f"{key.organisation_id}\0{key.lob}\0{key.application}\0{text}"
    return sha256(scope.encode()).hexdigest()


def fingerprint(endpoint: str, headers: Mapping[bytes, bytes], body: Mapping[str, Any]) -> str:
    """The question itself: endpoint, body whatever the order of its names, and the headers that change what may be done."""
    told = b"\0".join(headers.get(name, b"").strip() for name in ALSO_ASKED)
    return sha256(
        endpoint.encode() + b"\0" + told + b"\0" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    ).hexdigest()


@dataclass(slots=True)
class _Recorder:
    """Sends on, and remembers: the last byte of a whole answer leaves when the answer is kept."""

    send: Send
    keep: Callable[[bytes], Awaitable[bool]]
    kept: bool = False
    _start: dict[str, Any] = field(default_factory=dict)
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._start = message
        elif message["type"] == "http.response.body":
            part = message.get("body", b"")
            self._size += len(part)
            if self._size <= KEPT_MAX_BYTES:
                self._parts.append(part)
            if not message.get("more_body") and self._start.get("status") == 200:
                self.kept = await self.keep(self._answer())
        await self.send(message)

    def _answer(self) -> bytes:
        headers = [[k.decode("latin-1"), v.decode("latin-1")] for k, v in self._start["headers"]]
        body = b"".join(self._parts) if self._size <= KEPT_MAX_BYTES else b" " * (KEPT_MAX_BYTES + 1)
        return orjson.dumps(headers) + b"\n" + body


async def _replay(sealed: bytes, lob: str, send: Send) -> None:
    try:
        told, _, body = open_for_lob(lob, sealed.decode()).partition(b"\n")
    except InvalidTag:
        raise Conflict(
            "The kept answer can't be opened any more. Send another key.", code="already_answered"
        ) from None
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in orjson.loads(told)
        if not name.encode("latin-1").startswith(OF_THE_MOMENT)
    ]
    headers += [
        (b"x-request-id", new_id("req").encode()), (b"x-switchyard-cost-usd", b"0"), (b"x-switchyard-replayed", b"true"),
    ]  # fmt: skip
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
