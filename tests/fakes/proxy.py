"""A company's proxy to the outside: it notes what it is asked for, and leads whatever name to this machine."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from tests.fakes.threads import InThread


class FakeProxy(InThread):
    """`asked`: request lines; `heard`: every byte it could read. `refuses`: answers everything with this status."""

    def __init__(self, *, refuses: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: it is spoken to by https."""
        super().__init__("proxy")
        self._tls = tls
        self.refuses = refuses
        self.asked: list[str] = []
        self.heard = b""
        self.url = ""

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        self._server.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heard += head
        line, _, rest = head.partition(b"\r\n")
        self.asked.append(line.decode())
        method, place, _ = self.asked[-1].split(" ")
        parts = urlsplit(place if "://" in place else f"//{place}")
        refuses = self.refuses
        try:
            inner, out = await asyncio.open_connection("127.0.0.1", parts.port or 80)
        except OSError:
            refuses = refuses or 502
        if refuses:
            writer.write(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % refuses)
            writer.close()
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            out.write(f"{method} {path} HTTP/1.1\r\n".encode() + rest)
        await asyncio.gather(self._carry(reader, out), self._carry(inner, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while part := await reader.read(65536):
                self.heard += part
                writer.write(part)
        except OSError:
            pass
        writer.close()
