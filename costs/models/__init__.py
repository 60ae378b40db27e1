"""Money's tables, by subject. Rows keep names and prices as they were, so history doesn't move when something is renamed."""

from costs.models.books import (
    LEGS,
    PURPOSES,
    QUANTITIES,
    SIDES,
    AccountHour,
    Attempt,
    CostLegs,
    FiscalPeriod,
    LedgerEntry,
)
from costs.models.budgets import Alert, AlertDelivery, AlertTarget, Budget, BudgetExtra
from costs.models.nodes import Node, NodeCost, NodeCosts, NodeInterval, Restatement
from costs.models.plans import Anomaly, BusinessEvent, Forecast, WorkloadPlan
from costs.models.prices import ExchangeRate, Price
from costs.models.reconciliation import BillCheck
from costs.models.rollups import LabelHour, RollupMark, Spend, SpendDay, SpendHour

__all__ = [
    "LEGS",
    "PURPOSES",
    "QUANTITIES",
    "SIDES",
    "AccountHour",
    "Alert",
    "AlertDelivery",
    "AlertTarget",
    "Anomaly",
    "Attempt",
    "BillCheck",
    "Budget",
    "BudgetExtra",
    "BusinessEvent",
    "CostLegs",
    "ExchangeRate",
    "FiscalPeriod",
    "Forecast",
    "LabelHour",
    "LedgerEntry",
    "Node",
    "NodeCost",
    "NodeCosts",
    "NodeInterval",
    "Price",
    "Restatement",
    "RollupMark",
    "Spend",
    "SpendDay",
    "SpendHour",
    "WorkloadPlan",
]
