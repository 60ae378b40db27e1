"""A machine and its work, for the tests of nodes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from costs import ledger, rollups
from costs.metering import record_events
from costs.models import LedgerEntry, Node, NodeInterval, SpendHour
from costs.nodes import intervals
from costs.nodes.changes import create_node
from costs.rollups import HOUR, hour_of
from switchyard.core.clock import now
from tests.costs.events import NOON, make_event, private_attempt
from tests.factories import make_lob, make_organisation

START = hour_of(NOON)
SECOND_NS = 1_000_000_000


def make_node(since: Any = NOON - 2 * HOUR, **values: Any) -> Node:
    organisation = values.pop("organisation", None) or make_organisation()
    for slug in ("customer-service", "legal"):
        if not organisation.lobs.filter(slug=slug).exists():
            make_lob(organisation, slug)
    named = {"name": "node-cpu-1", "usd_per_hour": Decimal("0.05"), "created_at": since} | values
    return create_node(organisation_id=organisation.pk, actor=None, **named)


def work(node: Node, seconds: float, at: Any = NOON, **changes: Any) -> None:
    """One answer that took so long; the roll-ups are brought up as the consumer does."""
    attempt = private_attempt(
        accelerator_ns=int(seconds * SECOND_NS), node=node.name, cost_nusd=changes.pop("cost_nusd", 900)
    )
    record_events([make_event(attempt, at=at, organisation_id=node.organisation_id, **changes)])
    rollups.refresh(at, at)


def close(node: Node, hours: int = 3, since: Any = NOON - 2 * HOUR) -> int:
    return intervals.close_intervals(node.organisation_id, since, NOON + hours * HOUR)


def balance(account: str) -> int:
    """Debits less credits."""
    debit, credit = ledger.balances(LedgerEntry.objects.all()).get(account, (0, 0))
    return debit - credit


def busy() -> NodeInterval:
    return NodeInterval.objects.get(start=START, current=True)


def assert_everything_ties(node: Node) -> None:
    """Intervals, books and roll-ups tell of the same nano-dollars."""
    rows = list(NodeInterval.objects.filter(node=node.name, current=True))
    assert all(
        r.used_nusd + r.idle_nusd == r.bill_nusd and sum(r.shares.values()) == r.used_nusd for r in rows
    )
    bill = sum(r.bill_nusd for r in rows)
    assert balance(f"payable:node:{node.name}") == -bill
    assert ledger.trial_balance(node.organisation_id) == 0
    loaded = sum(r.cost_nusd + r.variance_nusd for r in SpendHour.objects.filter(node=node.name))
    on_rows = sum(r.used_nusd + (sum(r.idle_shares.values()) if r.accelerator_ns else 0) for r in rows)
    assert loaded == on_rows


def days_ago(days: float) -> Any:
    return hour_of(now()) - timedelta(days=days)
