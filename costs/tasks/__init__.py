"""Scheduled work of the money side, by subject. Each task is idempotent: running late, twice or side by side does no harm."""

from costs.tasks.upkeep import (
    check_budgets,
    close_intervals,
    refresh_rollups,
    sweep_leases,
    verify_books,
)

__all__ = [
    "check_budgets",
    "close_intervals",
    "refresh_rollups",
    "sweep_leases",
    "verify_books",
]
