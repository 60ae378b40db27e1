"""The lightest upstream: answers every POST with bytes made beforehand, from one asyncio protocol.

python -m bench.tools.upstream PORT — plain chat completions of about 1 kB, or 50 chunks when the body asks to stream;
BENCH_CHUNK_PAUSE_S between them (0). Plain answers come in turns, 4,096 of eight sentences each of which none comes twice: a
gateway that keeps what it found out about a sentence finds nothing here.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys

import httptools
import orjson
import uvloop

USAGE = {"prompt_tokens": 180, "completion_tokens": 50, "total_tokens": 230}
ANSWERS, SENTENCES = 4096, 8
_WHO = (
    "We have",
    "Our warehouse has",
    "A colleague of mine has",
    "The carrier has",
    "Our billing team has",
    "The branch near you has",
)
_DID = (
    "checked",
    "sent out",
    "received",
    "booked",
    "changed",
    "renewed",
    "cancelled",
    "found",
    "repaired",
    "confirmed",
)
_WHAT = (
    "your parcel", "the invoice", "your new card", "the contract", "your refund", "the spare part", "your order", "the address",
    "your ticket", "the statement", "your account", "the delivery note", "your subscription", "the receipt", "your request",
    "the second payment",
)  # fmt: skip
_WHEN = (
    "on Monday", "this morning", "two days ago", "within the hour", "last week", "before noon", "on the third of May",
    "yesterday", "after your call", "at the end of the month",
)  # fmt: skip
_THEN = ("and you will hear from us soon", "so nothing else is needed", "as you asked", "and a copy is in your inbox",
         "although it took longer than it should", "and there is no charge for it", "so please keep the number at hand",
         "and it should reach you within three working days")  # fmt: skip


def _texts() -> list[str]:
    """Answers of a help desk, without a sentence that comes twice."""
    every = list(itertools.product(_WHO, _DID, _WHAT, _WHEN, _THEN))
    drawn = random.Random(11).sample(every, ANSWERS * SENTENCES)
    said = [f"{who} {did} {what} {when}, {then}." for who, did, what, when, then in drawn]
    return [" ".join(said[at : at + SENTENCES]) for at in range(0, len(said), SENTENCES)]


def _plain(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = orjson.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
                         "choices": [choice], "usage": USAGE})  # fmt: skip
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-accelerator-ns: 1000000\r\ncontent-length: "
    )
    return head + str(len(body)).encode() + b"\r\n\r\n" + body


def _stream() -> list[bytes]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    frames = [head | {"choices": [{"index": 0, "delta": {"content": f"word{i} "}, "finish_reason": None}]}
              for i in range(49)]  # fmt: skip
    frames.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    frames.append(head | {"choices": [], "usage": USAGE})
    bodies = [b"data: " + orjson.dumps(frame) + b"\n\n" for frame in frames] + [b"data: [DONE]\n\n"]
    chunks = [hex(len(b))[2:].encode() + b"\r\n" + b + b"\r\n" for b in bodies]
    start = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [start, *chunks, b"0\r\n\r\n"]


PLAINS, STREAM = [_plain(text) for text in _texts()], _stream()
PLAIN = PLAINS[0]
CHUNK_PAUSE_S = float(os.environ.get("BENCH_CHUNK_PAUSE_S", "0"))


class Answering(asyncio.Protocol):
    plains = itertools.cycle(PLAINS)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.parser = httptools.HttpRequestParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        if b'"stream":true' in self.body or b'"stream": true' in self.body:
            asyncio.ensure_future(self._stream())
        else:
            self.transport.write(next(self.plains))
        self.body = b""

    async def _stream(self) -> None:
        for part in STREAM:
            self.transport.write(part)
            await asyncio.sleep(
                CHUNK_PAUSE_S
            )  # a write and a turn of the loop each: the reader sees them apart


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
