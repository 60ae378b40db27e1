"""Budgets' counters, their alerts, and what is carried over."""

from __future__ import annotations

from celery import shared_task

from costs import budgets


@shared_task(name="costs.check_budgets")
def check_budgets() -> int:
    """The wide counters SET from the ledger, then the alerts that are due; gives how many."""
    with budgets.client() as connection:
        budgets.rebuild_counters(connection, wide_only=True)
        return len(budgets.check_thresholds(connection))


@shared_task(name="costs.rebuild_counters")
def rebuild_counters() -> int:
    """Every counter SET from the ledger, those of applications and keys too; gives how many."""
    with budgets.client() as connection:
        return budgets.rebuild_counters(connection)


@shared_task(name="costs.carry_budgets")
def carry_budgets() -> int:
    """What ended periods left is added to those that follow; gives how many budgets got something."""
    with budgets.client() as connection:
        return len(budgets.carry_over(connection))
