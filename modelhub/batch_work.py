"""What people may see of batches and do with them. Whoever runs batches registers as their keeper; pages know only this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from switchyard.tenancy.querysets import Scope

# Custom ids, reasons and answers are the customers' words: who reads the list reads none of them.
READERS = ("operator", "model_engineer")
FILES = ("output", "error")


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch as a list shows it. `files`: which of FILES there are. `errors`: why it failed as a whole."""

    id: str
    lob: str
    application: str
    endpoint: str
    status: str
    final: bool
    total: int
    completed: int
    failed: int
    cost_nusd: int
    held_nusd: int
    estimated_nusd: int | None
    job_id: str
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    files: tuple[str, ...] = ()
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def done(self) -> float:
        """Share of the lines that are answered or refused, 0..1."""
        return min(1.0, (self.completed + self.failed) / self.total) if self.total else 0.0


@dataclass(frozen=True, slots=True)
class LineError:
    """A line that was refused, or that nobody asked."""

    custom_id: str
    status: int | None
    code: str
    message: str


class BatchKeeper(Protocol):
    """Everything is of the scope's organisation and lines of business; the rest raises NotFound."""

    def listed(self, scope: Scope, *, lob: str | None = None, limit: int = 100) -> list[BatchRow]: ...

    def one(self, scope: Scope, batch_id: str) -> BatchRow: ...

    def line_errors(self, scope: Scope, batch_id: str, limit: int = 200) -> list[LineError]:
        """The first so many, of a batch that runs as well as of one that has ended."""
        ...

    def cancel(self, scope: Scope, batch_id: str, user: Any) -> BatchRow:
        """Raises Conflict for one that has ended."""
        ...

    def pieces(self, scope: Scope, batch_id: str, which: str, user: Any) -> Iterator[bytes]:
        """The lines of one of FILES, plain; who read them is written down. Raises NotFound before the first piece."""
        ...


_keeper: BatchKeeper | None = None


def register_keeper(keeper: BatchKeeper) -> None:
    global _keeper
    _keeper = keeper


def keeper() -> BatchKeeper:
    """Raises RuntimeError where no app that runs batches is installed."""
    if _keeper is None:
        raise RuntimeError("Nobody keeps batches here: install switchyard.gateway.")
    return _keeper
