"""Scheduled work of the money side, by subject. Each task is idempotent: running late, twice or side by side does no harm."""

from costs.tasks.books import prepare_books, verify_books
from costs.tasks.budgets import carry_budgets, check_budgets, rebuild_counters
from costs.tasks.foresight import find_anomalies, find_bursts, make_forecasts
from costs.tasks.nodes import close_intervals, close_late_work
from costs.tasks.notify import send_alerts
from costs.tasks.prices import check_prices
from costs.tasks.reconciliation import reconcile_bills
from costs.tasks.upkeep import refresh_rollups, sweep_leases

__all__ = [
    "carry_budgets",
    "check_budgets",
    "check_prices",
    "close_intervals",
    "close_late_work",
    "find_anomalies",
    "find_bursts",
    "make_forecasts",
    "prepare_books",
    "rebuild_counters",
    "reconcile_bills",
    "refresh_rollups",
    "send_alerts",
    "sweep_leases",
    "verify_books",
]
