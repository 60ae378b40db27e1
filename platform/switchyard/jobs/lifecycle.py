"""The state machine of a job: which state may follow which."""

from __future__ import annotations

from switchyard.core.errors import Conflict
from switchyard.jobs.models import FINAL

MOVES: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "cancelled", "paused", "quarantined"}),
    "running": frozenset({"succeeded", "failed", "cancelled", "paused", "queued", "quarantined"}),
    "paused": frozenset({"queued", "cancelled"}),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset({"queued"}),
    "quarantined": frozenset({"queued"}),
    "succeeded": frozenset(),
}


def check_move(old: str, new: str) -> None:
    """Raise Conflict when a job can't go from `old` to `new`."""
    if new not in MOVES[old]:
        allowed = ", ".join(sorted(MOVES[old])) or "nothing"
        raise Conflict(
            f"A job that is {old} can't become {new}; it may become {allowed}.", code="illegal_state"
        )


def is_final(state: str) -> bool:
    return state in FINAL
