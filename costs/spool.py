"""Events on disk before they leave: a file per process that survives kill -9 of the gateway and of Valkey.

An event is written before the last byte of its answer is released, and forgotten once the stream has taken it. What a
dead process left behind is delivered again by `replay`; consumers recognise an event by its id, so twice does no harm.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson


class SpoolFull(RuntimeError):
    """The bound is reached: the stream has been out of reach for too long to go on answering."""


def _plain(value: Any) -> Any:
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no place in an event.")


class Written(Mapping[str, Any]):
    """An event that is a line of JSON already. What admission asks of it is at hand; whoever asks for more has it decoded."""

    __slots__ = ("_known", "_read", "line")

    def __init__(self, line: bytes, known: Mapping[str, Any]) -> None:
        """`known`: fields of the line that are told without reading it."""
        self.line, self._known = line, known
        self._read: dict[str, Any] | None = None

    @property
    def whole(self) -> dict[str, Any]:
        if self._read is None:
            self._read = orjson.loads(self.line)
        return self._read

    def __getitem__(self, name: str) -> Any:
        return self._known[name] if name in self._known else self.whole[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self._known[name] if name in self._known else self.whole.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)

    def __bool__(self) -> bool:
        return True


def encode(event: Mapping[str, Any]) -> bytes:
    """One line of JSON, without the line's end."""
    if type(event) is Written:
        return event.line
    try:
        return orjson.dumps(event, default=_plain)
    except (
        orjson.JSONEncodeError
    ):  # a key that is no text: looking for one in each costs as much as all the rest
        return orjson.dumps(event, default=_plain, option=orjson.OPT_NON_STR_KEYS)


@dataclass(eq=False)
class _Segment:
    path: Path
    descriptor: int
    size: int = 0
    open_ids: set[str] = field(default_factory=set)


class Spool:
    """`add` buffers, `flush` writes the whole buffer in one call, `acknowledge` forgets. Not for several threads.

    Files rotate at `rotate_bytes` and go away when each of their events was acknowledged; together the events that wait
    are held to `max_bytes`, in memory as on disk.
    """

    def __init__(self, folder: Path, *, rotate_bytes: int = 4 << 20, max_bytes: int = 64 << 20) -> None:
        self.folder = folder
        self.rotate_bytes = rotate_bytes
        self.max_bytes = max_bytes
        self.waiting_bytes = 0
        self._durable = False
        self._held: list[str] = []
        self._waiting: dict[str, tuple[bytes, _Segment]] = {}
        self._buffer: list[bytes] = []
        self._count = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._current = self._new_segment()

    @property
    def full(self) -> bool:
        return self.waiting_bytes >= self.max_bytes

    @property
    def durable(self) -> bool:
        return self._durable

    @durable.setter
    def durable(self, wanted: bool) -> None:
        """While the books are away: every write reaches the disk, and nothing is forgotten that only the stream has."""
        self._durable = wanted
        if not wanted and self._held:
            held, self._held = self._held, []
            self.acknowledge(held)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event_id: str, body: bytes) -> None:
        """Buffer one encoded event. Raises SpoolFull at the bound."""
        if self.full:
            raise SpoolFull(f"{len(self._waiting)} events wait in {self.folder} for the stream.")
        if event_id in self._waiting:
            return
        self._waiting[event_id] = (body, self._current)
        self._current.open_ids.add(event_id)
        self.waiting_bytes += len(body)
        self._buffer.append(body)

    def append(self, event: Mapping[str, Any]) -> bytes:
        """Encode, buffer and write one event; gives the encoded line."""
        body = encode(event)
        self.add(str(event["event_id"]), body)
        self.flush()
        return body

    def flush(self) -> None:
        """Everything buffered, in one write. OSError (disk full) leaves the events waiting in memory."""
        if not self._buffer:
            return
        data = b"\n".join(self._buffer) + b"\n"
        self._buffer.clear()
        segment = self._current
        view = memoryview(data)
        while view:
            view = view[os.write(segment.descriptor, view) :]
        if self._durable:
            os.fsync(segment.descriptor)
        segment.size += len(data)
        if segment.size >= self.rotate_bytes:
            self._current = self._new_segment()
            self._drop_if_done(segment)

    def acknowledge(self, event_ids: Iterable[str]) -> None:
        if self._durable:
            self._held.extend(event_ids)
            return
        for event_id in event_ids:
            body, segment = self._waiting.pop(event_id, (b"", None))
            if segment is None:
                continue
            self.waiting_bytes -= len(body)
            segment.open_ids.discard(event_id)
            if not segment.open_ids:
                self._drop_if_done(segment)

    def waiting(self, event_ids: Iterable[str]) -> list[tuple[str, bytes]]:
        """Those of the events that weren't acknowledged yet, as (id, line)."""
        return [(i, self._waiting[i][0]) for i in event_ids if i in self._waiting]

    def close(self) -> None:
        """Files with events that still wait stay for `replay`."""
        self.flush()
        segment = self._current
        os.close(segment.descriptor)
        if not segment.open_ids:
            segment.path.unlink(missing_ok=True)

    def _drop_if_done(self, segment: _Segment) -> None:
        if segment.open_ids:
            return
        if segment is not self._current:
            segment.path.unlink(missing_ok=True)
            os.close(segment.descriptor)
        elif segment.size >= self.rotate_bytes // 4 and not self._buffer:
            os.ftruncate(segment.descriptor, 0)
            segment.size = 0

    def _new_segment(self) -> _Segment:
        """Locked before it has its name, so that nobody takes it for a dead process's."""
        self._count += 1
        path = self.folder / f"{os.getpid()}-{time.time_ns()}-{self._count}.jsonl"
        draft = path.with_suffix(".new")
        descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        draft.rename(path)
        return _Segment(path, descriptor)


def replay(folder: Path, deliver: Callable[[list[dict[str, Any]]], None], batch: int = 500) -> int:
    """Hand the events of dead processes to `deliver` in batches and remove their files; gives how many.

    A file whose lock is held belongs to a living process and is left alone. A torn last line was never part of an answer
    that ended, and is skipped. When `deliver` raises, the file stays.
    """
    delivered = 0
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        try:
            events = list(_events(path))
            for start in range(0, len(events), batch):
                deliver(events[start : start + batch])
            delivered += len(events)
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
    return delivered


def waiting_events(folder: Path) -> Iterable[dict[str, Any]]:
    """Every event that a file still holds, living processes' included; some of them were delivered already."""
    for path in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        try:
            yield from _events(path)
        except FileNotFoundError:
            continue


def _events(path: Path) -> Iterable[dict[str, Any]]:
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
