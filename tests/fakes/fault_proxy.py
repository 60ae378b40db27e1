"""A TCP proxy in a thread that harms what passes through it, beneath HTTP: bytes have no frames to it.

with FaultProxy(upstream.url) as proxy:
    proxy.harm = Harm(cut_after=300)      # of every connection from now on; Harm() behaves
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.fakes.threads import InThread


@dataclass(frozen=True, slots=True)
class Harm:
    """Of the way from server to client, where nothing else is said. Bytes count from a connection's first."""

    latency_s: float = 0.0  # before each piece
    cut_after: int | None = None  # so many bytes, then an orderly end
    reset_after: int | None = None  # so many bytes, then a reset
    half_close_after: int | None = None  # so many bytes, then silence to the client, who may still write
    piece: int = 0  # bytes a write; 0: as they come
    pause_s: float = 0.0  # between pieces: a slow server
    black_hole: bool = False  # takes connections and bytes, gives nothing
    refuse: bool = False  # closes each connection at once
    slow_read: int = 0  # takes so many bytes a tenth of a second from the client; 0: all


class FaultProxy(InThread):
    """`url` is the target's with our own port. Started and stopped as a context manager."""

    def __init__(self, target_url: str) -> None:
        super().__init__("fault proxy")
        parts = urlsplit(target_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._path = parts.path
        self.harm = Harm()
        self.url = ""
        self.connections = 0
        self.sent = 0  # bytes given to clients
        self._tasks: set[asyncio.Task[None]] = set()

    async def _open(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{self._path}"

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._carry(reader, writer, self.harm))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, harm: Harm) -> None:
        if harm.refuse:
            _reset(writer)
            return
        if harm.black_hole:
            while await reader.read(65536):
                pass
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        forth = asyncio.ensure_future(_forth(reader, upstream_writer, harm))
        try:
            await self._back(upstream_reader, writer, harm)
        except (ConnectionError, OSError):
            pass
        finally:
            forth.cancel()
            for end in (upstream_writer, writer):
                with contextlib.suppress(OSError, RuntimeError):
                    end.close()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, harm: Harm) -> None:
        given = 0
        limits = [n for n in (harm.cut_after, harm.reset_after, harm.half_close_after) if n is not None]
        most = min(limits, default=None)
        while data := await reader.read(harm.piece or 65536):
            if harm.latency_s:
                await asyncio.sleep(harm.latency_s)
            room = len(data) if most is None else most - given
            writer.write(data[:room])
            await writer.drain()
            given += min(len(data), room)
            self.sent += min(len(data), room)
            if most is not None and given >= most:
                break
            if harm.pause_s:
                await asyncio.sleep(harm.pause_s)
        else:
            return
        if harm.reset_after == most:
            _reset(writer)
        elif harm.half_close_after == most:
            writer.write_eof()
            await asyncio.sleep(3600)


async def _forth(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, harm: Harm) -> None:
    while data := await reader.read(harm.slow_read or 65536):
        writer.write(data)
        await writer.drain()
        if harm.slow_read:
            await asyncio.sleep(0.1)
    with contextlib.suppress(OSError):
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Gone without a farewell: the other end gets ECONNRESET."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
