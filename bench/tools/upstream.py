"""The lightest upstream: answers every POST with the same bytes, from one asyncio protocol.

python -m bench.tools.upstream PORT — plain chat completions of about 1 kB, or 50 chunks when the body asks to stream;
BENCH_CHUNK_PAUSE_S between them (0).
"""

from __future__ import annotations

import asyncio
import os
import sys

import httptools
import orjson
import uvloop

USAGE = {"prompt_tokens": 180, "completion_tokens": 50, "total_tokens": 230}
TEXT = "The parcel left our warehouse on Monday and should reach you within three working days. " * 8


def _plain() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
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


PLAIN, STREAM = _plain(), _stream()
CHUNK_PAUSE_S = float(os.environ.get("BENCH_CHUNK_PAUSE_S", "0"))


class Answering(asyncio.Protocol):
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
            self.transport.write(PLAIN)
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
