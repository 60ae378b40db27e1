"""Who carried idle time when, from the nodes' history: closed hours keep the rule they were closed under."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from costs.models import Node
from costs.nodes.allocation import IdleRule


class Rules:
    """The rules of one node by time; the first covers what came before it. `kept` holds (since when, rule), in order."""

    def __init__(self, node: Node, kept: Sequence[tuple[datetime, IdleRule]]) -> None:
        self._from = [at for at, _rule in kept]
        self._rules = [rule for _at, rule in kept] or [_rule_of(node)]

    def at(self, moment: datetime) -> IdleRule:
        return self._rules[max(0, bisect_right(self._from, moment) - 1)]

    def ever(self, rule: str) -> bool:
        return any(one.rule == rule for one in self._rules)


def rules_of(organisation_id: int) -> dict[str, Rules]:
    """Node name → its rules; two queries."""
    nodes = list(Node.objects.filter(organisation_id=organisation_id))
    rows = Node.history.filter(organisation_id=organisation_id).order_by("history_date", "history_id")
    kept: dict[int, list[tuple[datetime, IdleRule]]] = {}
    for row in rows:
        kept.setdefault(row.id, []).append((row.history_date, _rule_of(row)))
    return {node.name: Rules(node, kept.get(node.pk, ())) for node in nodes}


def _rule_of(row: Node) -> IdleRule:
    return IdleRule(row.idle_rule, row.pool, row.idle_shares or {})
