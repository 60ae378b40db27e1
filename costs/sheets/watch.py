"""Deployments that get no traffic for want of a price, or soon won't: somebody is told once a day."""

from __future__ import annotations

from datetime import timedelta

from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.models import Price
from costs.sheets.currencies import rates_in_force
from costs.sheets.dated import missing_rate
from costs.sheets.deployments import external_models
from costs.sheets.in_force import prices_in_force
from switchyard.core.clock import now

SOON = timedelta(days=7)


def check_prices(organisation_id: int) -> int:
    """How many of the external deployments in use have no price, none in dollars, or none so beyond the next week."""
    at = now()
    held, rates = prices_in_force(organisation_id, at), rates_in_force(organisation_id, at)
    coming = Price.objects.filter(organisation_id=organisation_id, valid_from__gt=at).order_by("-valid_from")
    next_of = {row.deployment: row for row in coming}  # the first to begin
    found = 0
    for name in sorted(external_models(organisation_id, enabled=True)):
        row, after = held.get(name), next_of.get(name)
        if row is None:
            _tell(
                organisation_id,
                "missing_price",
                name,
                _("%(name)s gets no traffic: no price sheet of it is in force.") % {"name": name},
            )
        elif row.currency not in rates:
            missing_rate(row)
        elif after is not None and after.valid_from < at + SOON and _without_rate(organisation_id, after):
            missing_rate(after)
        elif row.valid_to is not None and row.valid_to < at + SOON and after is None:
            _tell(
                organisation_id, "price_ends", name,
                _("The price sheet of %(name)s ends at %(end)s UTC and none follows: it gets no traffic from then on. Enter the "
                  "sheet that follows.") % {"name": name, "end": f"{row.valid_to:%Y-%m-%d %H:%M}"},
            )  # fmt: skip
        else:
            continue
        found += 1
    return found


def _without_rate(organisation_id: int, coming: Price) -> bool:
    return coming.currency not in rates_in_force(organisation_id, coming.valid_from)


def _tell(organisation_id: int, kind: str, name: str, message: str) -> None:
    raise_alert(
        organisation_id=organisation_id, kind=kind, subject=name, message=message,
        unique_key=f"{kind}:{organisation_id}:{name}:{now():%Y%m%d}",
    )  # fmt: skip
