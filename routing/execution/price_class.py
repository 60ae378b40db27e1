"""Work that may wait is asked for at the vendor's batch price, and paid at it unless the vendor says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from costs.contracts import Usage
from routing.contracts import DeploymentInfo, GatewayRequest
from routing.execution.usage import read_usage

FLEX = "flex"  # what vendors call work that may wait, and asks less
BATCH_TIERS = (FLEX, "batch")


def waits(request: GatewayRequest, target: DeploymentInfo) -> bool:
    """Whether it is asked for at the vendor's batch price: a line of a batch, and a sheet that has one."""
    return request.batch and target.prices is not None and target.prices.batch_ppm is not None


def tiered(request: GatewayRequest, target: DeploymentInfo, body: dict[str, Any]) -> dict[str, Any]:
    """The body with the price class it is asked for at; what the caller chose itself stands."""
    return {"service_tier": FLEX} | body if waits(request, target) else body


def used(request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Usage:
    """What the answer used, at the batch price unless the vendor says that it was answered in another class."""
    usage = read_usage(reply.get("usage"))
    if waits(request, target) and reply.get("service_tier", FLEX) in (*BATCH_TIERS, None):
        return replace(usage, batch=True)
    return flexed(usage, request, target, reply)


def flexed(usage: Usage, request: GatewayRequest, target: DeploymentInfo, reply: Mapping[str, Any]) -> Usage:
    """A live call that asked to wait pays the batch price only where the vendor says that it let it wait."""
    if not request.apart.flex or target.prices is None or target.prices.batch_ppm is None:
        return usage
    return replace(usage, batch=True) if reply.get("service_tier") in BATCH_TIERS else usage
