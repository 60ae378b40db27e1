"""Scheduled work of the money side, by subject. Each task is idempotent: running late, twice or side by side does no harm."""

from costs.tasks.budgets import carry_budgets, check_budgets
from costs.tasks.notify import send_alerts
from costs.tasks.upkeep import (
    close_intervals,
    refresh_rollups,
    sweep_leases,
    verify_books,
)

__all__ = [
    "carry_budgets",
    "check_budgets",
    "close_intervals",
    "refresh_rollups",
    "send_alerts",
    "sweep_leases",
    "verify_books",
]
