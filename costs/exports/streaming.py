"""A file that is written while it is sent: a long export never stands in memory whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import islice

from asgiref.sync import sync_to_async

LINES = 500  # a turn in the database's thread


async def streamed(lines: Iterator[str]) -> AsyncIterator[bytes]:
    """Lines read from the database in turns, handed out between them."""
    while part := await sync_to_async(lambda: "".join(islice(lines, LINES)))():
        yield part.encode()
