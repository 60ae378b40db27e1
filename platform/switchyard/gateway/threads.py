"""Database work of the slower endpoints: in a thread of its own, never in the one that the gateway's look-ups share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


async def in_thread(call: Callable[[], T]) -> T:
    """What the call gives or raises; its thread's database connection is closed after it."""

    def run() -> T:
        try:
            return call()
        finally:
            connections.close_all()

    return await asyncio.to_thread(run)
