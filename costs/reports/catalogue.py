"""Every report by its name: what REST, `manage.py report` and the pages' CSV find."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from costs.economics.assumptions import DEFAULTS
from costs.reports import (
    Report,
    accuracy,
    cost_per_correct,
    counterfactual,
    node_bill,
    share,
    spend,
    trial_balance,
)
from costs.reports.anomalies import anomalies
from costs.reports.break_even import break_even
from costs.reports.budgets import budget_burn
from costs.reports.capacity import PARAMETERS as CAPACITY
from costs.reports.capacity import capacity
from costs.reports.counterfactual import read_flag
from costs.reports.economics import economics
from costs.reports.forecast import forecast
from costs.reports.lifetime import lifetime_cost
from costs.reports.nodes import node_costs, node_hours
from costs.reports.purchase import PARAMETERS as PURCHASE
from costs.reports.purchase import purchase_advice
from costs.reports.reconciliation import reconciliation
from costs.reports.savings import savings
from costs.reports.spend import FILTERS
from costs.reports.true_cost import parse_side, true_cost
from costs.reports.units import unit_economics


@dataclass(frozen=True, slots=True)
class Entry:
    """`parameters`: query parameters of this report alone → how their text is read (ValueError refuses it)."""

    function: Callable[..., Report]
    group: str = "lob"  # when the query names none
    parameters: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)


CATALOGUE: dict[str, Entry] = {
    "economics": Entry(economics, group="plan", parameters=dict.fromkeys(DEFAULTS, float)),
    "spend": Entry(spend, parameters=dict.fromkeys(FILTERS, str)),
    "savings": Entry(savings, group="workload"),
    "forecast": Entry(forecast),
    "anomalies": Entry(anomalies, group="workload"),
    "accuracy": Entry(accuracy),
    "cost-per-correct": Entry(cost_per_correct),
    "budget-burn": Entry(budget_burn),
    "break-even": Entry(break_even, group="workload"),
    "capacity": Entry(capacity, parameters=CAPACITY),
    "purchase-advice": Entry(purchase_advice, parameters=PURCHASE),
    "counterfactual": Entry(counterfactual, group="workload", parameters={"replay": read_flag}),
    "lifetime-cost": Entry(lifetime_cost, group="workload"),
    "node-bill": Entry(node_bill),
    "node-costs": Entry(node_costs),
    "node-hours": Entry(node_hours, group="day"),
    "reconciliation": Entry(reconciliation),
    "share": Entry(share),
    "trial-balance": Entry(trial_balance),
    "unit-economics": Entry(unit_economics, group="workload"),
    "true-cost": Entry(true_cost, parameters={"side": parse_side}),
}
