"""How much later than it must a stream begins where the guard holds back: it has to read the first HOLD characters (no sentence
of the bench's ends before), so its first byte is due when the bare upstream has written those.

`rows(results)` is what bench/gateway.py calls; `python -m bench.tools.gateway_first` prints the row.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from itertools import accumulate
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from bench.common import FULL, Results
from bench.tools.gateway_stage import Target, targets
from bench.tools.upstream import STREAM
from routing.guards.stream import HOLD

ROUNDS, PAIRS = (7, 40) if FULL else (3, 15)
WARM_UP = 5
PAUSE_S = 0.003  # between two chunks: the window lasts about 0.15 s
TOGETHER = 10  # frames that leave at once where a window was held
HOW = (
    f"a stream's first byte at 1 concurrent where the guard enforces and holds back, less the moment at which the bare upstream "
    f"had written the {HOLD} characters that the guard must read first; medians of {PAIRS} pairs in turns, {PAUSE_S * 1000:g} ms "
    "between chunks"
)


def last_of_window() -> bytes:
    """The frame's text with which the window is full."""
    words = [
        choice["delta"]["content"]
        for part in STREAM
        if b"data: {" in part
        for choice in orjson.loads(part.partition(b"data: ")[2].partition(b"\n")[0])["choices"]
        if "content" in choice["delta"]
    ]
    sizes = accumulate(len(word) for word in words)
    return next(word for word, size in zip(words, sizes, strict=True) if size >= HOLD).encode()  # type: ignore[no-any-return]


async def heard(target: Target, until: bytes) -> tuple[float, bytes]:
    """Milliseconds from a stream's question until these bytes of its answer were there, and what else had come by then."""
    place = urlsplit(target.url)
    question = {"role": "user", "content": "Where is my parcel?"}
    body = orjson.dumps({"model": "auto", "stream": True, "max_tokens": 256, "messages": [question]})
    lines = (f"POST {place.path} HTTP/1.1", f"host: {place.netloc}", f"authorization: Bearer {target.key}",
             "content-type: application/json", f"content-length: {len(body)}", "", "")  # fmt: skip
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        began, told = time.perf_counter(), b""
        writer.write("\r\n".join(lines).encode() + body)
        while until not in told:
            if not (part := await asyncio.wait_for(reader.read(1 << 16), 30)):
                raise RuntimeError(f"{target.name} ended before {until!r}: {told[:300]!r}")
            told += part
        return 1000 * (time.perf_counter() - began), told
    finally:
        writer.close()


async def pair(bare: Target, held: Target, full: bytes) -> float:
    """Milliseconds by which the first byte came after the window was full."""
    due, _ = await heard(bare, full)
    came, told = await heard(held, b'"content"')
    if told.count(b"data: ") < TOGETHER:
        raise RuntimeError(
            f"{held.name} sent a first frame before the window was full: nothing was held back."
        )
    return came - due


async def rounds(bare: Target, held: Target) -> list[float]:
    """The median of its pairs, a round each."""
    full = last_of_window()
    for _ in range(WARM_UP):
        await pair(bare, held, full)
    return [statistics.median([await pair(bare, held, full) for _ in range(PAIRS)]) for _ in range(ROUNDS)]


def rows(results: Results) -> None:
    home = Path(tempfile.mkdtemp(prefix="sy-first-", dir="/tmp"))
    before = os.environ.get("BENCH_CHUNK_PAUSE_S")
    os.environ["BENCH_CHUNK_PAUSE_S"] = str(PAUSE_S)
    try:
        with targets(home) as found:
            late = asyncio.run(rounds(found["bare"], found["held"]))
    finally:
        if before is None:
            os.environ.pop("BENCH_CHUNK_PAUSE_S", None)
        else:
            os.environ["BENCH_CHUNK_PAUSE_S"] = before
        shutil.rmtree(home, ignore_errors=True)
    results.add("first_token_held_ms", late, "ms", HOW, at_most=5)


if __name__ == "__main__":
    one = Results("gateway-first")
    rows(one)
    print(one.rows[-1])
