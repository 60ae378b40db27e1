"""The gateway served from the process that watches it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn


@asynccontextmanager
async def served(port: int) -> AsyncIterator[str]:
    """Its base URL, as `make run` serves it; stopped afterwards."""
    from switchyard.asgi import application

    config = uvicorn.Config(
        application, host="127.0.0.1", port=port, http="httptools", access_log=False, log_level="warning",
        ws="none", server_header=False, lifespan="on",
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving
