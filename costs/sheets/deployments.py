"""Deployments as prices know them: by name. Their rows are modelhub's, which lies above, so they are found by label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps

from costs.models import Price, SpendHour
from switchyard.tenancy.querysets import Scope


def _rows() -> Any:
    return apps.get_model("modelhub", "Deployment").objects


def exists(organisation_id: int | None, name: str) -> bool:
    return _rows().filter(organisation_id=organisation_id, name=name).exists()


def unknown(organisation_id: int, names: Iterable[str]) -> list[str]:
    """Those that never were: no deployment, no sheet and no spend has the name. A removed one still has its past."""
    asked = set(names)
    held = set(_rows().filter(organisation_id=organisation_id, name__in=asked).values_list("name", flat=True))
    for model in (Price, SpendHour):
        rows = model.objects.filter(organisation_id=organisation_id, deployment__in=asked - held)
        held |= set(rows.order_by().values_list("deployment", flat=True).distinct())
    return sorted(asked - held)


def visible(scope: Scope) -> frozenset[str] | None:
    """Names whose prices somebody may see; None: all of the organisation, those of removed deployments too."""
    if scope.organisation_id is not None and scope.lob_ids is None:
        return None
    return frozenset(_rows().for_tenant(scope).values_list("name", flat=True))


def external_models(organisation_id: int, *, enabled: bool = False) -> dict[str, str]:
    """External deployment → the vendor's name of its model; with `enabled`, of those alone that may get traffic."""
    rows = _rows().filter(organisation_id=organisation_id, side="external")
    rows = rows.filter(enabled=True) if enabled else rows
    return dict(rows.values_list("name", "model"))
