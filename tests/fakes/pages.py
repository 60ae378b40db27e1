"""A pages process and a front before it, each under uvicorn in a thread, with a real unix socket between them.

`Echo` stands for Django: it tells what it was asked, and misbehaves where its path says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

from switchyard.gateway.pages import Pages, PagesElsewhere
from switchyard.gateway.pages_headers import front_token
from switchyard.gateway.pages_server import PagesFront, private_socket

TOKEN = front_token("of the tests")
Application = Callable[..., Awaitable[None]]


class Served:
    """An ASGI application behind a socket: the one given, else a free loopback port (`url`)."""

    def __init__(self, application: Application, socket_path: Path | None = None) -> None:
        config = uvicorn.Config(
            application, host="127.0.0.1", port=0, log_level="critical", lifespan="on", ws="none", loop="uvloop",
            http="httptools", proxy_headers=False, server_header=False, timeout_graceful_shutdown=1,
            timeout_keep_alive=75, date_header=socket_path is None,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        sockets = [private_socket(socket_path)] if socket_path else None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self.server.serve(sockets=sockets)), daemon=True
        )

    def start(self) -> Served:
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self.server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise RuntimeError("It didn't start.")
            time.sleep(0.005)
        return self

    @property
    def port(self) -> int:
        return self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(15)


class Front:
    """What GatewayFront does with pages, without the gateway."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self.pages(scope, receive, send)
            return
        await receive()
        await self.pages.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.pages.close()
        await send({"type": "lifespan.shutdown.complete"})


class Echo:
    """Tells what it was asked; `left` names the paths whose client hung up, `asked` counts requests by path."""

    def __init__(self) -> None:
        self.left: list[str] = []
        self.asked: list[str] = []
        self.go_on = threading.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(f"{scope['method']} {path}")
        special = {
            "/cookies": self.cookies, "/not-modified": self.not_modified, "/events": self.events, "/hang": self.hang,
            "/cut": self.cut, "/gone": self.gone, "/early": self.early,
        }  # fmt: skip
        await special.get(path, self.echo)(scope, receive, send)

    async def echo(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        size, digest, more, parts = 0, hashlib.sha256(), True, 0
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.append(scope["path"])
                return
            more = message.get("more_body", False)
            size, parts = size + len(message["body"]), parts + 1
            digest.update(message["body"])
        told = {
            "method": scope["method"], "path": scope["path"], "raw_path": scope["raw_path"].decode(),
            "query": scope["query_string"].decode(), "scheme": scope["scheme"], "client": scope["client"],
            "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
            "size": size, "sha256": digest.hexdigest(), "parts": parts,
        }  # fmt: skip
        body = json.dumps(told).encode()
        await start(
            send, 200, (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())
        )
        await send({"type": "http.response.body", "body": body})

    async def cookies(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await start(
            send, 302, (b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; Expires=Thu, 26 Nov 2026 09:00:00 GMT"),
            (b"set-cookie", b"c=\xc3\xa9"), (b"location", b"/next/?a=%2F"), (b"connection", b"x-own"), (b"x-own", b"1"),
            (b"keep-alive", b"timeout=5"), (b"content-length", b"0"),
        )  # fmt: skip
        await send({"type": "http.response.body", "body": b""})

    async def not_modified(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await start(send, 304, (b"etag", b'"1"'))
        await send({"type": "http.response.body", "body": b""})

    async def events(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await start(send, 200, (b"content-type", b"text/event-stream"))
        await send({"type": "http.response.body", "body": b"data: first\n\n", "more_body": True})
        while not self.go_on.is_set():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": b"data: second\n\n"})

    async def hang(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.append("/hang")

    async def cut(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await start(send, 200, (b"content-type", b"text/csv"))
        await send({"type": "http.response.body", "body": b"a,b\n", "more_body": True})
        raise RuntimeError("the pages process breaks off")

    async def gone(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """As a process that ends before it answers."""
        await _close_connection(scope, send)

    async def early(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await start(send, 413, (b"content-length", b"3"))
        await send({"type": "http.response.body", "body": b"big"})


async def _close_connection(scope: dict[str, Any], send: Any) -> None:
    send.__self__.transport.abort()  # uvicorn's cycle: the only way to end a connection without a word
    await asyncio.sleep(0.05)


async def start(send: Any, status: int, *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


class Pair:
    """The front and the pages process of one test; `stop_pages` and `start_pages` as the supervisor would."""

    def __init__(self, application: Application, folder: Path) -> None:
        self.application, self.path = application, folder / "pages.sock"
        self.start_pages()
        self.front = Served(Front(PagesElsewhere(f"unix://{self.path}", TOKEN))).start()

    def start_pages(self) -> None:
        self.pages = Served(PagesFront(self.application, TOKEN), self.path).start()

    def stop_pages(self) -> None:
        self.pages.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.front.port}"

    def stop(self) -> None:
        self.front.stop()
        self.pages.stop()
