"""The lightest upstream, in a bad mood now and then: python -m bench.tools.moody_upstream PORT."""

from __future__ import annotations

import asyncio
import random
import sys

import uvloop

from bench.tools.upstream import PLAIN, STREAM, Answering

SEED = 7


class Moody(Answering):
    """Fails one call in thirty: 500, a reset, half an answer, 429; three streams in a hundred break off."""

    draw = random.Random(SEED)

    def on_message_complete(self) -> None:
        mood = self.draw.random()
        if mood < 0.01:
            self.transport.write(b"HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}")
        elif mood < 0.02:
            self.transport.abort()
        elif mood < 0.025:
            self.transport.write(PLAIN[: len(PLAIN) // 2])
            self.transport.close()
        elif mood < 0.03:
            self.transport.write(b"HTTP/1.1 429 Busy\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}")
        else:
            super().on_message_complete()
            return
        self.body = b""

    async def _stream(self) -> None:
        ends = len(STREAM) if self.draw.random() > 0.03 else self.draw.randrange(1, 30)
        for part in STREAM[:ends]:
            self.transport.write(part)
            await asyncio.sleep(0.002)
        if ends < len(STREAM):
            self.transport.close()


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Moody, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
