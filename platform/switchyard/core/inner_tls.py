"""TLS inside of TLS: a tunnel's own encryption on a connection to a proxy that is encrypted itself."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
PIECE_BYTES = 65_536


class InnerTls:
    """As much of a socket as http.client and our own calls use. An SSLContext can't wrap an SSLSocket: it would take the bare
    descriptor and leave the outer encryption out.

    Raises ssl.SSLError where the certificate isn't that of `name`.
    """

    def __init__(self, outer: socket.socket, context: ssl.SSLContext, name: str) -> None:
        self._outer = outer
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._inner = context.wrap_bio(self._came, self._goes, server_hostname=name)
        self._readers, self._closed = 0, False
        self._carry(self._inner.do_handshake)

    def _carry(self, step: Callable[[], T]) -> T:
        """The step's result, once all that it waits for has come and all that it says has gone."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                piece = self._outer.recv(PIECE_BYTES)
                if piece:
                    self._came.write(piece)
                else:
                    self._came.write_eof()
                continue
            self._flush()
            return result

    def _flush(self) -> None:
        if self._goes.pending:
            self._outer.sendall(self._goes.read())

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._carry(lambda part=rest: self._inner.write(part)) :]  # type: ignore[misc]

    def recv(self, most: int) -> bytes:
        """Empty at the end, also where the other side went without a word."""
        try:
            return self._carry(lambda: self._inner.read(most))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def settimeout(self, seconds: float | None) -> None:
        self._outer.settimeout(seconds)

    def makefile(self, mode: str = "rb", *_: Any) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """As a socket does: what still reads goes on."""
        self._closed = True
        self.let_go(0)

    def let_go(self, readers: int) -> None:
        self._readers -= readers
        if self._closed and self._readers <= 0:
            self._outer.close()

    def __enter__(self) -> InnerTls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Reader(io.RawIOBase):
    def __init__(self, connection: InnerTls) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        piece = self._connection.recv(len(into))
        into[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._connection.let_go(1)
