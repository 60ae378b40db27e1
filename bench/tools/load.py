"""A light load generator: so many keep-alive connections, so many requests, each latency written down.

python -m bench.tools.load URL KEY CONCURRENCY REQUESTS [stream] [pause=MS] → JSON {"latencies_ms": [...], "wall_s",
"failed"}; with a pause each connection waits so long between an answer and its next request.
"""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

MODEL = "auto"  # the only chat workload of the key
PAUSE_S = sum(float(word[6:]) / 1000 for word in sys.argv[5:] if word.startswith("pause="))
QUESTION = "Where is my parcel, and when will it arrive? I ordered two weeks ago. " * 11


def request_bytes(url: str, key: str, stream: bool) -> bytes:
    """One chat request of about 1 kB."""
    parts = urlsplit(url)
    body = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 256}
    payload = orjson.dumps(body | ({"stream": True} if stream else {}))
    return (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n"
    ).encode() + payload


class Caller(asyncio.Protocol):
    """One connection that sends its next request when the last answer is whole."""

    def __init__(
        self, request: bytes, work: list[int], latencies: list[float], done: asyncio.Future[None]
    ) -> None:
        self.request, self.work, self.latencies, self.done = request, work, latencies, done
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._next()

    def _next(self) -> None:
        if not self.work[0]:
            self.transport.close()
            return
        self.work[0] -= 1
        self.parser = httptools.HttpResponseParser(self)
        self.began = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.latencies.append((time.perf_counter() - self.began) * 1000)
        self.failed += self.parser.get_status_code() != 200
        if PAUSE_S:
            asyncio.get_running_loop().call_later(PAUSE_S, self._next)
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _same(caller: Caller) -> Caller:
    return caller


async def drive(url: str, key: str, concurrency: int, requests: int, stream: bool) -> dict[str, object]:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    request, work = request_bytes(url, key, stream), [requests]
    latencies: list[float] = []
    callers = [Caller(request, work, latencies, loop.create_future()) for _ in range(concurrency)]
    began = time.perf_counter()
    for caller in callers:
        await loop.create_connection(partial(_same, caller), parts.hostname or "", parts.port or 80)
    await asyncio.gather(*(caller.done for caller in callers))
    failed = sum(caller.failed for caller in callers) + requests - len(latencies)
    return {"latencies_ms": latencies, "wall_s": time.perf_counter() - began, "failed": failed}


if __name__ == "__main__":
    _, url, key, concurrency, requests, *mode = sys.argv
    result = uvloop.run(drive(url, key, int(concurrency), int(requests), "stream" in mode))
    sys.stdout.buffer.write(orjson.dumps(result))
