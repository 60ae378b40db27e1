"""What a batch has so far, on disk: a line for each answer, sealed, written before its cost is settled.

Written and synced first, settled second: a worker that is killed in between finds the answer with its event when it goes on,
and tells the event again (its id is known, so twice is once). A line that isn't here was never answered to anybody.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from django.conf import settings

from switchyard.core.crypto import open_for_lob, seal_for_lob

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """`told`: the line for the output or error file; `event`, `cost_nusd`: what its last call is settled with."""

    number: int
    ok: bool
    told: dict[str, Any]
    event: dict[str, Any]
    cost_nusd: int


class Journal:
    """One batch's; appended to by one runner at a time, for a job has one."""

    def __init__(self, lob_id: int, lob: str, batch_id: str) -> None:
        self.path = Path(settings.MEDIA_ROOT) / "batches" / str(lob_id) / f"{batch_id}.journal"
        self._lob = lob

    def append(self, entries: Iterable[Entry]) -> None:
        """On the disk when it returns. Raises OSError."""
        rows = [[e.number, e.ok, e.told, e.event, e.cost_nusd] for e in entries]
        self._write([self._sealed({"entries": rows})])

    def settled(self, numbers: Iterable[int]) -> None:
        """Their events are with the ledger's stream. Not synced: told twice does no harm."""
        self._write([self._sealed({"settled": list(numbers)})], sync=False)

    def _sealed(self, value: dict[str, Any]) -> bytes:
        return seal_for_lob(self._lob, orjson.dumps(value, default=dict)).encode()

    def _write(self, lines: list[bytes], *, sync: bool = True) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            # a line that a kill cut off must not swallow the next one
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (b"\n" if torn else b"") + b"\n".join(lines) + b"\n")
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> Iterator[Entry]:
        """Every answer once, in the order they came."""
        seen: set[int] = set()
        for value in self._values():
            for row in value.get("entries", ()):
                if row[0] not in seen:
                    seen.add(row[0])
                    yield Entry(*row)

    def unsettled(self) -> list[Entry]:
        """Answers whose events may not have got out."""
        done = {number for value in self._values() for number in value.get("settled", ())}
        return [entry for entry in self.read() if entry.number not in done]

    def _values(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as source:
            for line in source:
                try:
                    yield orjson.loads(open_for_lob(self._lob, line.strip().decode()))
                except (InvalidTag, ValueError):
                    if line.strip():  # cut off by a kill: its answer was told to nobody
                        log.warning("%s has a line that was cut off", self.path.name)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
