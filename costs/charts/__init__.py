"""Rows of reports → Plotly figure dicts, by subject. Pure: no Django, no database; amounts are nano-dollars."""

from costs.charts.budgets import budget_use, burn_down
from costs.charts.foresight import anomaly_parts, forecast
from costs.charts.savings import savings_waterfall
from costs.charts.spend import (
    cost_by_side,
    cost_over_time,
    cost_per_correct,
    counterfactual,
    learning_curve,
    node_bill,
    rate_over_time,
    rate_with_interval,
    shares,
    switched_off,
)
from costs.charts.style import EXTERNAL, IDLE, PRIVATE, Figure, money_unit

__all__ = [
    "EXTERNAL",
    "Figure",
    "IDLE",
    "PRIVATE",
    "anomaly_parts",
    "budget_use",
    "burn_down",
    "cost_by_side",
    "cost_over_time",
    "cost_per_correct",
    "counterfactual",
    "forecast",
    "learning_curve",
    "money_unit",
    "node_bill",
    "rate_over_time",
    "rate_with_interval",
    "savings_waterfall",
    "shares",
    "switched_off",
]
