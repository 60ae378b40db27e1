"""A light load generator: so many keep-alive connections, so many requests, each latency written down.

python -m bench.tools.load URL KEY CONCURRENCY REQUESTS [stream] [pause=MS] [rate=RPS] [model=NAME] [header=NAME:VALUE …] → JSON
{"latencies_ms": [...], "firsts_ms": [...], "wall_s", "failed", "statuses"}. With a pause each connection waits so long between an
answer and its next request. With a rate requests are due by the clock, whether the ones before were answered or not, and a
latency counts from when it was due: a server that falls behind can't hide it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, deque
from functools import partial
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop


def _said(name: str) -> list[str]:
    return [word.partition("=")[2] for word in sys.argv[5:] if word.startswith(f"{name}=")]


MODEL = (_said("model") or ["auto"])[0]  # auto: the only chat workload of the key
PAUSE_S = sum(float(word) / 1000 for word in _said("pause"))
RATE = float((_said("rate") or ["0"])[0])
HEADERS = "".join(f"{word.replace(':', ': ', 1)}\r\n" for word in _said("header"))
QUESTION = "Where is my parcel, and when will it arrive? I ordered two weeks ago. " * 11


def request_bytes(url: str, key: str, stream: bool) -> bytes:
    """One chat request of about 1 kB."""
    parts = urlsplit(url)
    body = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 256}
    payload = orjson.dumps(body | ({"stream": True} if stream else {}))
    return (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\n{HEADERS}content-length: {len(payload)}\r\n\r\n"
    ).encode() + payload


class Tally:
    """What was asked and how it went."""

    def __init__(self, request: bytes, requests: int) -> None:
        self.request, self.left = request, requests
        self.latencies: list[float] = []
        self.firsts: list[float] = []
        self.statuses: Counter[int] = Counter()


class Caller(asyncio.Protocol):
    """One connection. By itself it sends its next request when the last answer is whole; under a clock, when it is told to."""

    def __init__(self, tally: Tally, done: asyncio.Future[None], free: deque[Caller] | None) -> None:
        self.tally, self.done, self.free = tally, done, free
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        if self.free is not None:
            self.free.append(self)
        else:
            self._next()

    def _next(self) -> None:
        if not self.tally.left:
            self.transport.close()
            return
        self.tally.left -= 1
        self.ask(time.perf_counter())

    def ask(self, due: float) -> None:
        """One request; its latency counts from `due`."""
        self.parser = httptools.HttpResponseParser(self)
        self.began, self.first, self.busy = due, False, True
        self.transport.write(self.tally.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if not self.first:
            self.first = True
            self.tally.firsts.append((time.perf_counter() - self.began) * 1000)

    def on_message_complete(self) -> None:
        self.tally.latencies.append((time.perf_counter() - self.began) * 1000)
        self.tally.statuses[self.parser.get_status_code()] += 1
        self.busy = False
        if self.free is not None:
            self.free.append(self)
        elif PAUSE_S:
            asyncio.get_running_loop().call_later(PAUSE_S, self._next)
        else:
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def _by_the_clock(tally: Tally, free: deque[Caller], rate: float) -> None:
    """Requests when they are due. One that finds no free connection waits for one, and its latency says so."""
    began, sent = time.perf_counter(), 0
    waiting: deque[float] = deque()
    while tally.left or waiting:
        now = time.perf_counter()
        while tally.left and began + sent / rate <= now:
            waiting.append(began + sent / rate)
            sent += 1
            tally.left -= 1
        while waiting and free:
            free.popleft().ask(waiting.popleft())
        # Until the next one is due: a generator that looked all the time would take the processor from what it measures.
        next_s = began + sent / rate - time.perf_counter() if tally.left and not waiting else 0.0005
        await asyncio.sleep(max(0.0005, next_s))


def _same(caller: Caller) -> Caller:
    return caller


async def drive(url: str, key: str, concurrency: int, requests: int, stream: bool) -> dict[str, object]:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    tally = Tally(request_bytes(url, key, stream), requests)
    free: deque[Caller] | None = deque() if RATE else None
    callers = [Caller(tally, loop.create_future(), free) for _ in range(concurrency)]
    began = time.perf_counter()
    for caller in callers:
        await loop.create_connection(partial(_same, caller), parts.hostname or "", parts.port or 80)
    if free is not None:
        await _by_the_clock(tally, free, RATE)
        while any(caller.busy and not caller.done.done() for caller in callers):
            await asyncio.sleep(0.005)
    else:
        await asyncio.gather(*(caller.done for caller in callers))
    well = tally.statuses[200]
    return {
        "latencies_ms": tally.latencies, "firsts_ms": tally.firsts, "wall_s": time.perf_counter() - began,
        "failed": requests - well, "statuses": {str(status): count for status, count in tally.statuses.items()},
    }  # fmt: skip


if __name__ == "__main__":
    _, url, key, concurrency, requests, *mode = sys.argv
    result = uvloop.run(drive(url, key, int(concurrency), int(requests), "stream" in mode))
    sys.stdout.buffer.write(orjson.dumps(result))
