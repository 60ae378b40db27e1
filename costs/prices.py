"""Dated price sheets: create one, find the one in force. What was in force is never edited."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from costs.contracts import PriceSheet
from costs.models import Price
from costs.selectors import sheet_of
from switchyard.audit.services import record
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.services import bump_config


def price_in_force(organisation_id: int, deployment: str, at: datetime) -> PriceSheet | None:
    rows = Price.objects.filter(organisation_id=organisation_id, deployment=deployment, valid_from__lte=at)
    row = rows.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=at)).order_by("-valid_from").first()
    return sheet_of(row) if row else None


def overlapping(organisation_id: int, deployment: str, start: datetime, end: datetime | None) -> Price | None:
    """A sheet that claims part of [start, end), other than an open one that began earlier: its successor closes that."""
    rows = Price.objects.filter(organisation_id=organisation_id, deployment=deployment)
    rows = rows.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=start))
    if end is not None:
        rows = rows.filter(valid_from__lt=end)
    return rows.exclude(valid_to__isnull=True, valid_from__lt=start).order_by("valid_from").first()


@transaction.atomic
def create_price(
    *,
    organisation_id: int,
    deployment: str,
    valid_from: datetime,
    source: str,
    actor: Any,
    valid_to: datetime | None = None,
    **nusd: int | None,
) -> Price:
    """A new dated sheet; the open one before it ends where it begins. `nusd` are Price's amounts.

    Raises ValidationFailed when it ends before it starts or overlaps another sheet.
    """
    if valid_to is not None and valid_to <= valid_from:
        raise ValidationFailed("The price must end after it starts.")
    clash = overlapping(organisation_id, deployment, valid_from, valid_to)
    if clash is not None:
        raise ValidationFailed(f"The dates overlap those of {clash.version} ({clash}).")
    before = Price.objects.filter(organisation_id=organisation_id, deployment=deployment)
    for row in before.filter(valid_to__isnull=True, valid_from__lt=valid_from):
        row.valid_to = valid_from
        row.save(update_fields=["valid_to"])
    price = Price.objects.create(
        organisation_id=organisation_id,
        deployment=deployment,
        valid_from=valid_from,
        valid_to=valid_to,
        source=source,
        **nusd,
    )
    record(
        actor=actor,
        action="price.created",
        target=f"price:{price.pk}",
        organisation_id=organisation_id,
        detail={"deployment": deployment, "from": valid_from, "source": source, **nusd},
    )
    bump_config()
    return price
