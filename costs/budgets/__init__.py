"""What was spent of a budget: from the ledger, from the counters; what is added to it; alerts when it gets close."""

from costs.budgets.carry import carry_over
from costs.budgets.counters import client, rebuild_counter, rebuild_counters, seed_from_ledger
from costs.budgets.headroom import Headroom, headroom
from costs.budgets.labels import reserve_labels
from costs.budgets.spending import entries_of, pending_events, spent_in_ledger, spent_nusd
from costs.budgets.thresholds import check_thresholds
from costs.budgets.topups import approve_top_up, refuse_top_up, request_top_up

__all__ = [
    "Headroom",
    "approve_top_up",
    "carry_over",
    "check_thresholds",
    "client",
    "entries_of",
    "headroom",
    "pending_events",
    "rebuild_counter",
    "rebuild_counters",
    "refuse_top_up",
    "request_top_up",
    "reserve_labels",
    "seed_from_ledger",
    "spent_in_ledger",
    "spent_nusd",
]
