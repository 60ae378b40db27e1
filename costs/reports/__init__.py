"""Grouped figures for pages, REST and the command line. One function a report; `catalogue` knows them all by name."""

from costs.reports.base import Report
from costs.reports.books import trial_balance
from costs.reports.counterfactual import counterfactual
from costs.reports.nodes import node_bill
from costs.reports.quality import accuracy, cost_per_correct
from costs.reports.spend import share, spend

__all__ = [
    "Report",
    "accuracy",
    "cost_per_correct",
    "counterfactual",
    "node_bill",
    "share",
    "spend",
    "trial_balance",
]
