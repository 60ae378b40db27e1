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
from costs.reports.economics import economics


@dataclass(frozen=True, slots=True)
class Entry:
    """`parameters`: query parameters of this report alone → how their text is read (ValueError refuses it)."""

    function: Callable[..., Report]
    group: str = "lob"  # when the query names none
    parameters: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)


CATALOGUE: dict[str, Entry] = {
    "economics": Entry(economics, group="plan", parameters=dict.fromkeys(DEFAULTS, float)),
    "spend": Entry(spend),
    "accuracy": Entry(accuracy),
    "cost-per-correct": Entry(cost_per_correct),
    "counterfactual": Entry(counterfactual, group="workload"),
    "node-bill": Entry(node_bill),
    "share": Entry(share),
    "trial-balance": Entry(trial_balance),
}
