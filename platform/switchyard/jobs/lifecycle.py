"""The state machine of a job: which state may follow which.

queued → running → succeeded
   ↑  ↘     ↓  ↘ failed, cancelled, quarantined ─┐
   │   paused                                    │
   └──────┴──────────────── (resume, retry) ─────┘
"""

from __future__ import annotations

from switchyard.core.errors import Conflict
from switchyard.jobs.models import FINAL

MOVES: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "paused", "cancelled", "quarantined"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "paused", "queued", "quarantined"}),
    "paused": frozenset({"queued", "cancelled"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
    "quarantined": frozenset({"queued"}),
    "succeeded": frozenset(),
}


def check_move(old: str, new: str) -> None:
    """Raise Conflict `illegal_state` when a job can't go from `old` to `new`."""
    if new in MOVES[old]:
        return
    if old == new:
        raise Conflict(f"This job is {old} already.", code="illegal_state")
    may = f"it may become {', '.join(sorted(MOVES[old]))}" if MOVES[old] else "it has ended"
    raise Conflict(f"A job that is {old} can't become {new}; {may}.", code="illegal_state")


def is_final(state: str) -> bool:
    """Whether nothing happens to the job any more unless somebody retries it."""
    return state in FINAL
