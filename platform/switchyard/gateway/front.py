"""The plain ASGI front: /v1/*, health and metrics are answered here, everything else goes on to the pages."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async

from routing import shapes
from routing.contracts import DeploymentInfo, KeyInfo, Snapshot
from routing.intake.parsing import parse
from routing.learned import live as chances
from routing.pipeline import answer, answer_stream, open_run
from routing.run import Run
from switchyard.core.clock import now_ns
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest, NotFound, RateLimited, SwitchyardError
from switchyard.core.ids import new_id
from switchyard.gateway import collecting, heads, idempotency, metrics, spoken, uploads, versions
from switchyard.gateway.bodies import ClientGone, end_overdue, read_json
from switchyard.gateway.desk import Office
from switchyard.gateway.entrance import Entrance, declared
from switchyard.gateway.keys import KeyRing
from switchyard.gateway.lookups import give_feedback, list_models, retrieve_model, show_decision
from switchyard.gateway.messages.counting import count_tokens
from switchyard.gateway.older import gathered
from switchyard.gateway.pages import Pages
from switchyard.gateway.relaying import Receive, ShuttingDown, relayed
from switchyard.gateway.replies import Send, encode_headers, run_headers, send_answer, send_error, send_json
from switchyard.gateway.snapshot import SnapshotKeeper

log = logging.getLogger(__name__)
Scope = dict[str, Any]
ANSWERING = {"chat/completions", "completions", "embeddings", "classifications", "predictions", "moderations"}
LOOK_S = 2.0  # between two looks at who is late with his body
SSE = (b"content-type", b"text/event-stream; charset=utf-8")


class GatewayFront:
    """One per process. Starts with the lifespan: snapshot, connections, admission; `pages` gets the rest."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages
        self.keeper = SnapshotKeeper()
        self.office: Office | None = None
        self.ring = KeyRing()
        self.entrance = Entrance()
        self.draining = False
        self._drained: asyncio.Future[None]  # done when streams must end
        self._impatience: asyncio.Task[None] | None = None
        self._collecting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        path = scope.get("path", "")
        if scope["type"] == "http" and path.startswith("/v1/"):
            asked = path[4:].rstrip("/")
            if scope.get("http_version") == "1.0":
                send = gathered(send)
            await (self._v1 if asked in ANSWERING else self._speak)(scope, receive, send, asked)
        elif scope["type"] == "http" and path in ("/healthz", "/readyz", "/metrics"):
            await self._health(path, send)
        elif scope["type"] == "http":
            await self.pages(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    # ------------------------------------------------------------------ life
    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            log.exception("the gateway could not start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        heads.bound()
        await sync_to_async(self.keeper.load)()
        self.keeper.start()
        self.office = Office(self._deployments, lambda: self.keeper.away_s)
        await self.office.open()
        self.keeper.replaced = partial(asyncio.get_running_loop().call_soon_threadsafe, self.office.forget)
        await self.pages.open()
        self._drained = asyncio.get_running_loop().create_future()
        self._impatience = asyncio.get_running_loop().create_task(_keep_ending_overdue())
        self._watch_for_sigterm()
        if threading.current_thread() is threading.main_thread():
            # A front in a thread (a test's) isn't the process: what it froze would never be let go.
            collecting.freeze()
            self._collecting = asyncio.get_running_loop().create_task(collecting.keep_collecting())
            # A thread that reads a new snapshot, or rows for a look-up, would keep the loop waiting for 5 ms at a time.
            sys.setswitchinterval(0.0005)

    def _watch_for_sigterm(self) -> None:
        """Before the server's own handler: /readyz says no at once, and streams learn when they must end."""
        if threading.current_thread() is not threading.main_thread():
            return  # a test's server in a thread of its own: it calls drain() itself
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)

            def handle(sig: int, frame: Any, previous: Any = previous) -> None:
                loop.call_soon_threadsafe(self.drain)
                if callable(previous):
                    previous(sig, frame)

            signal.signal(number, handle)

    def drain(self) -> None:
        """No new requests; streams get DRAIN_S, then end in words."""
        if not self.draining:
            self.draining = True
            asyncio.get_running_loop().call_later(conf("DRAIN_S"), self._end_streams)

    def _end_streams(self) -> None:
        if not self._drained.done():
            self._drained.set_result(None)

    def _deployments(self) -> Iterator[DeploymentInfo]:
        for snapshot in self.keeper.world.organisations.values():
            yield from snapshot.deployments.values()

    async def stop(self) -> None:
        self.draining = True
        for task in (self._impatience, self._collecting):
            if task is not None:
                task.cancel()
        self.keeper.stop()
        if self.office is not None:
            await self.office.close()
        await self.pages.close()

    async def _health(self, path: str, send: Send) -> None:
        if path == "/healthz":
            await send_json(send, 200, {"status": "ok"})
        elif path == "/metrics":
            metrics.SNAPSHOT.set(self.keeper.world.version)
            metrics.STALE.set(self.keeper.stale_s)
            metrics.PAGES_UP.set(await self.pages.state() != "away")
            metrics.SPOOLED.set(len(self.office.spool) if self.office else 0)
            metrics.CHANCES.set(chances.CLOCK.asked)
            metrics.CHANCES_FAILED.set(chances.CLOCK.failed)
            metrics.CHANCES_TOOK.set(chances.CLOCK.seconds)
            headers = [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": metrics.render()})
        else:
            stale = self.keeper.stale_s > conf("SNAPSHOT_STALE_S")
            ready = not stale and not self.draining and self.office is not None
            body = {
                "ready": ready,
                "snapshot_version": self.keeper.world.version,
                "stale_s": round(self.keeper.stale_s, 1),
            }
            body |= {"draining": self.draining, "pages": await self.pages.state()}
            await send_json(send, 200 if ready else 503, body)

    # ------------------------------------------------------------------ /v1
    async def _speak(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Other vendors' words are translated on the way in and out; ours pass as they are."""
        spoken_here = spoken.dialect_for(path, scope)
        if spoken_here is not None:
            await spoken.speak(self, spoken_here, scope, receive, send)
        else:
            await self._v1(scope, receive, send, path)

    async def _v1(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        request_id = new_id("req")
        headers = dict(
            scope["headers"][::-1]
        )  # the first of a name counts: a trailer behind the body changes nothing
        metrics.IN_FLIGHT.count += 1
        saying = send  # the same, once it is known which policy's version a refusal must say
        try:
            if self.draining:
                raise ShuttingDown("This process is stopping. Ask again: another one answers.")
            world = self.keeper.world
            key = self.ring.authenticate(headers.get(b"authorization", b""), world)
            snapshot = world.organisations[key.organisation_id]
            saying = versions.versioned(send, snapshot.policies, key.lob)
            if path in ANSWERING:
                _method(scope, "POST")
                if idempotency.HEADER in headers:
                    await self._answer_once(path, request_id, headers, key, snapshot, receive, saying)
                else:  # every answer and every error after it says its own decision's version
                    await self._answer(path, request_id, headers, key, snapshot, receive, send)
            else:
                await self._look_up(scope, path, headers, key, snapshot, receive, saying)
        except SwitchyardError as error:
            await send_error(saying, error, {"x-request-id": request_id})
        except ClientGone:
            pass
        except Exception:
            log.exception("request %s failed inside the gateway", request_id)
            await send_error(saying, SwitchyardError("Something went wrong here. It was logged under the request id."),
                             {"x-request-id": request_id})  # fmt: skip
        finally:
            metrics.IN_FLIGHT.count -= 1

    async def _answer_once(
        self,
        endpoint: str,
        request_id: str,
        headers: dict[bytes, bytes],
        key: KeyInfo,
        world: Snapshot,
        receive: Receive,
        send: Send,
    ) -> None:
        """Under an Idempotency-Key what was answered before is given again."""
        assert self.office is not None

        async def inner(receive: Receive, send: Send, watched: idempotency.Watched) -> None:
            await self._answer(endpoint, request_id, headers, key, world, receive, send, watched)

        await self.office.once.answer(endpoint, headers, key, receive, send, inner)

    async def _answer(
        self,
        endpoint: str,
        request_id: str,
        headers: dict[bytes, bytes],
        key: KeyInfo,
        world: Snapshot,
        receive: Receive,
        send: Send,
        watched: idempotency.Watched | None = None,
    ) -> None:
        assert self.office is not None
        received = now_ns()
        wait = self._begin(endpoint, headers, key)
        if wait is not None:
            await wait
        raw, body = await read_json(receive, headers)
        request = parse(
            endpoint=endpoint, raw=raw, body=body, headers=headers, key=key, world=world,
            request_id=request_id, decision_id="dec_" + request_id[4:], received_ns=received,
        )  # fmt: skip
        known = {"x-switchyard-decision-id": request.decision_id, "x-request-id": request_id}
        run: Run | None = None
        try:
            run = await open_run(request, world, self.office.desk)
            if watched is not None:
                watched.run = run
            if request.stream:
                await self._stream(run, receive, send)
            else:
                payload = await answer(run, self.office.desk)
                await send_answer(send, run, payload)
        except SwitchyardError as error:
            if run is not None:
                extra = run_headers(run, with_cost=True)
            else:
                extra = {versions.HEADER: versions.in_force(world.policies, key.lob, request.sticky)}
            await send_error(send, error, known | extra)
        finally:
            if run is not None:
                metrics.observe(run)

    def _begin(self, endpoint: str, headers: dict[bytes, bytes], key: KeyInfo) -> asyncio.Future[None] | None:
        """Before anything is read: is a limit known to be reached, and whose turn is it? Raises RateLimited; gives what to
        wait for, if anything."""
        assert self.office is not None
        try:
            self.office.admission.turned_away.check(key.limits, declared(headers))
            return self.entrance.enter(key.lob)
        except RateLimited:
            metrics.turned_away(key.lob, endpoint)
            raise

    async def _stream(self, run: Run, receive: Receive, send: Send) -> None:
        """200 only after the first frame; pings while it is quiet; leaving closes the upstream and settles."""
        assert self.office is not None
        async with aclosing(answer_stream(run, self.office.desk)) as frames:
            first = await anext(frames)
            headers = [SSE, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
            headers += encode_headers(run_headers(run, with_cost=False))
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            try:
                left = await relayed(run, frames, receive, send, self._drained)
                if run.error_code == ShuttingDown.code:
                    raise ShuttingDown("This process is stopping. Ask again: another one answers.")
            except SwitchyardError as error:
                left = False
                part = shapes.data_frame(error.body())
                await send({"type": "http.response.body", "body": part, "more_body": True})
        if not left:
            await send({"type": "http.response.body", "body": b""})

    async def _look_up(
        self,
        scope: Scope,
        path: str,
        headers: dict[bytes, bytes],
        key: KeyInfo,
        world: Snapshot,
        receive: Receive,
        send: Send,
    ) -> None:
        assert self.office is not None
        first, _, rest = path.partition("/")
        if first in uploads.ENDPOINTS:
            await uploads.handle(scope, first, rest, headers, key, receive, send)
        elif first == "models":
            _method(scope, "GET")
            body = retrieve_model(rest, key, world) if rest else list_models(key, world)
            await send_json(send, 200, body)
        elif first == "decisions" and rest:
            _method(scope, "GET")
            await send_json(send, 200, await show_decision(rest, key, self.office.fresh))
        elif path == "messages/count_tokens":
            _method(scope, "POST")
            _, asked = await read_json(receive, headers)
            await send_json(send, 200, count_tokens(asked, key, world))
        elif path == "feedback":
            _method(scope, "POST")
            _, told = await read_json(receive, headers)
            body = await give_feedback(told, key, world, self.office.admission, self.office.fresh)
            await send_json(send, 200, body)
        else:
            raise NotFound(f"There is no endpoint /v1/{path[:80]}.")


def _method(scope: Scope, wanted: str) -> None:
    if scope["method"] != wanted:
        raise InvalidRequest(f"This endpoint takes {wanted}.", code="wrong_endpoint", status=405)


async def _keep_ending_overdue() -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        end_overdue()
