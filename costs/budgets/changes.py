"""Budgets: made, changed and removed, each with its audit event; every process knows within two seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction

from costs.models import Budget
from switchyard.audit.services import record
from switchyard.core.money import format_usd
from switchyard.tenancy.services import bump_config


@transaction.atomic
def save_budget(*, budget: Budget, actor: Any, changed: Iterable[str]) -> Budget:
    """Keep a checked row, new or not; `changed` names its fields that somebody wrote."""
    action = "created" if budget.pk is None else "changed"
    budget.save()
    _note(budget, action, actor, sorted(changed))
    return budget


@transaction.atomic
def remove_budget(*, budget: Budget, actor: Any) -> None:
    """It binds nothing from now on; its top-ups go with it, its history and what was spent stay."""
    _note(budget, "deleted", actor, [])
    budget.delete()


def _note(budget: Budget, action: str, actor: Any, fields: list[str]) -> None:
    record(
        actor=actor, action=f"budget.{action}", target=f"budget:{budget}", lob=budget.lob.slug if budget.lob else "",
        organisation_id=budget.organisation_id, detail={"fields": fields, "limit_usd": format_usd(budget.limit_nusd)},
    )  # fmt: skip
    bump_config()
