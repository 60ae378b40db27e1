"""A placement of a model's experts from what its servers counted, for launch specifications."""

from __future__ import annotations

from datetime import timedelta

from modelhub.ml.activation.placement import LayerPlan
from modelhub.selectors.experts import expert_use
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.querysets import Scope

DAYS = 14


def placement_of(scope: Scope, model: str, devices: int, redundant: int | None) -> list[LayerPlan] | None:
    """One plan a layer over the last fortnight's counts; None when no redundant experts are asked for.

    Raises InvalidRequest where nothing was counted, or slots can't be shared evenly.
    """
    if redundant is None:
        return None
    today = now().date()
    use = expert_use(scope=scope, model=model, start=today - timedelta(days=DAYS - 1), end=today)
    if use is None:
        raise InvalidRequest(
            f"No expert counts of {model} in {DAYS} days: its load isn't known.", param="redundant"
        )
    try:
        return use.placement(devices, redundant)
    except ValueError as error:
        raise InvalidRequest(f"{error}.", param="redundant") from None
