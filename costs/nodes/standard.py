"""The standard rate of a node: what private answers are metered at."""

from __future__ import annotations

import hashlib

from costs.contracts import NodeRate
from costs.models import Node
from costs.nodes.terms import Bill, standard_bill
from costs.nodes.timeline import Timeline
from costs.nodes.versions import timeline_of, timelines
from costs.pricing import PPM, Unpriced
from switchyard.core.clock import now


def hourly_nusd(node: Node) -> int:
    """What an hour costs now, used or not, with the tariff's average over the day. Raises Unpriced."""
    return hourly_bill(node).nusd


def hourly_bill(node: Node, timeline: Timeline | None = None) -> Bill:
    """The same with its parts. Raises Unpriced."""
    at = now()
    return standard_bill((timeline or timeline_of(node, node.costs.all())).at(at), at)


def rate_of(node: Node, timeline: Timeline | None = None) -> NodeRate:
    """The node's standard rate; its version changes whenever what it costs changes. Raises Unpriced."""
    at = now()
    terms = (timeline or timeline_of(node, node.costs.all())).at(at)
    hourly = standard_bill(terms, at).nusd
    planned = int(terms.planned_utilisation * PPM)
    digest = hashlib.sha256(f"{hourly}/{planned}".encode()).hexdigest()[:8]
    return NodeRate(f"{terms.version}@{digest}", node.name, hourly, planned)


def node_rates(organisation_id: int) -> dict[str, NodeRate]:
    """Node name → rate. Nodes that say nothing of their cost are left out, so their deployments get no traffic."""
    rates = {}
    for node, timeline in timelines(organisation_id).items():
        try:
            rates[node.name] = rate_of(node, timeline)
        except Unpriced:
            continue
    return rates
