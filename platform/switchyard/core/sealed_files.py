"""Files on disk under a key of their line of business: written and read in pieces, whole or not at all.

Format: `SYF1` · 7 random bytes · frames. A frame is its length (4 bytes, big endian) and AES-GCM of up to 1 MiB of plain
bytes; the nonce is the random bytes, a counter of four bytes and one byte that is 1 in the last frame, so that frames
can't be dropped, repeated, moved, or cut off at the end without notice.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cryptography.exceptions import InvalidTag

from switchyard.core.crypto import lob_cipher

MAGIC, SALT_BYTES, FRAME = b"SYF1", 7, 1 << 20
TAG_BYTES = 16


class SealBroken(Exception):
    """The file isn't one that was written here for this line of business, or was changed since."""


def _nonce(salt: bytes, counter: int, last: bool) -> bytes:
    return salt + counter.to_bytes(4, "big") + (b"\x01" if last else b"\x00")


class SealedWriter:
    """Writes beside `path` and takes its place at the end; leaving by an exception leaves nothing behind.

    After the `with`: `size` and `sha256` of the plain bytes. Raises OSError (disk full).
    """

    def __init__(self, path: Path, lob: str) -> None:
        self.path, self.size, self.sha256 = path, 0, ""
        self._lob, self._cipher, self._salt = lob, lob_cipher(lob), os.urandom(SALT_BYTES)
        self._draft = path.with_name(f".{path.name}.{os.getpid()}.{self._salt.hex()}")
        self._buffer, self._counter, self._hash = bytearray(), 0, hashlib.sha256()
        self._out: BinaryIO | None = None

    def __enter__(self) -> SealedWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._out = os.fdopen(descriptor, "wb")
        self._out.write(MAGIC + self._salt)
        return self

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._hash.update(data)
        self._buffer += data
        while len(self._buffer) > FRAME:
            self._frame(bytes(self._buffer[:FRAME]), last=False)
            del self._buffer[:FRAME]

    def _frame(self, plain: bytes, *, last: bool) -> None:
        assert self._out is not None
        sealed = self._cipher.encrypt(_nonce(self._salt, self._counter, last), plain, self._lob.encode())
        self._out.write(len(sealed).to_bytes(4, "big") + sealed)
        self._counter += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._out is not None
        try:
            if kind is None:
                self._frame(bytes(self._buffer), last=True)
                self._out.flush()
                os.fsync(self._out.fileno())
                self._out.close()
                os.replace(self._draft, self.path)
                self.sha256 = self._hash.hexdigest()
        finally:
            self._close_quietly()
            self._draft.unlink(missing_ok=True)

    def _close_quietly(self) -> None:
        """A full disk refuses the rest of the buffer a second time; the first refusal is on its way already."""
        try:
            if self._out is not None:
                self._out.close()
        except OSError:
            pass


def read_sealed(path: Path, lob: str) -> Iterator[bytes]:
    """The plain bytes in pieces of up to 1 MiB. Raises OSError, SealBroken."""
    cipher = lob_cipher(lob)
    with path.open("rb") as source:
        if source.read(len(MAGIC)) != MAGIC:
            raise SealBroken(f"{path.name} is not a sealed file")
        salt, counter = source.read(SALT_BYTES), 0
        head = source.read(4)
        while head:
            length = int.from_bytes(head, "big")
            if len(head) < 4 or not TAG_BYTES <= length <= FRAME + TAG_BYTES:
                raise SealBroken(f"{path.name} is damaged")
            sealed, head = source.read(length), source.read(4)
            try:
                plain = cipher.decrypt(_nonce(salt, counter, not head), sealed, lob.encode())
            except InvalidTag:
                raise SealBroken(f"{path.name} was changed, or is another line of business's") from None
            counter += 1
            yield plain
        if counter == 0:
            raise SealBroken(f"{path.name} is cut off")


def read_lines(path: Path, lob: str) -> Iterator[bytes]:
    """Lines of a sealed file without their ends. Raises OSError, SealBroken."""
    rest = b""
    for piece in read_sealed(path, lob):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
