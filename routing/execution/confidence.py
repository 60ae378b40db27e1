"""How sure an answer is, as a cascade compares it with its threshold: the model's own confidence through what judged answers
taught about it. Without such a map the model's own figure stands (ours are calibrated by temperature when they are made)."""

from __future__ import annotations

from routing.contracts import DeploymentInfo, GatewayRequest
from routing.execution.base import Completion, upstream_model


def chance_of(request: GatewayRequest, target: DeploymentInfo, completion: Completion) -> float:
    """The chance that the answer is right; 0 where the model tells no confidence. A version on trial is taken at its word: the
    map was fitted on another model's answers."""
    told = completion.confidence
    if told is None:
        return 0.0
    found = target.calibrations.get(request.workload.name) if request.workload is not None else None
    if found is None or found.model != upstream_model(request, target):
        return told
    return float(found.chance(told))
