"""Who sends a bill: the server behind a deployment, and every deployment of ours at the same address."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.apps import apps
from django.db.models import Q

from costs.contracts import Usage
from costs.models import Price
from costs.pricing import external_cost
from costs.reconciliation.bills import BillRefused, UsageRow
from costs.reconciliation.days import model_key
from costs.reconciliation.lines import ROUNDING_NUSD
from costs.sheets.in_force import sheet_of
from switchyard.core.errors import InvalidRequest, NotFound


@dataclass(frozen=True, slots=True)
class Vendor:
    """`models`: deployment → what its server calls the model. The deployment that was asked for comes first."""

    organisation_id: int
    base_url: str
    api_key: str
    models: dict[str, str]

    @property
    def deployments(self) -> list[str]:
        return list(self.models)

    def deployment_of(self, model: str) -> str:
        """Whose line it is: the deployment of that model, else the one that was asked for."""
        same = [name for name, own in self.models.items() if model_key(own) == model_key(model)]
        return same[0] if same else self.deployments[0]

    def check_currency(self, start: datetime, end: datetime, currency: str) -> None:
        """BillRefused unless some price sheet of the period is in the bill's currency."""
        sheets = Price.objects.filter(
            organisation_id=self.organisation_id, deployment__in=self.deployments, valid_from__lt=end
        )
        sheets = sheets.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=start))
        known, name = set(sheets.order_by().values_list("currency", flat=True)), self.deployments[0]
        if not known:
            raise BillRefused(
                f"{name} has no price sheet in that period: nothing says what its calls should cost."
            )
        if currency not in known:
            said = " and ".join(sorted(known))
            raise wrong_currency(
                f"The bill is in {currency}, but {name}'s price sheet is in {said}", currency
            )

    def at_sheet(self, currency: str) -> Callable[[UsageRow], bool]:
        """For bills in another currency than dollars: whether a line is what the sheet in force gives for its tokens."""
        if currency == "USD":
            return lambda row: False
        rows = Price.objects.filter(organisation_id=self.organisation_id, deployment__in=self.deployments)
        sheets = list(rows.order_by("-valid_from"))

        def fits(row: UsageRow) -> bool:
            name = self.deployment_of(row.model)
            sheet = next((s for s in sheets if s.deployment == name and s.valid_from <= row.at), None)
            if sheet is None or row.tokens_in is None:
                return False
            usage = Usage(
                tokens_in=row.tokens_in, tokens_out=row.tokens_out or 0, cached_tokens_in=row.cached_in or 0
            )
            return abs(external_cost(usage, sheet_of(sheet)) - row.amount_nano) <= ROUNDING_NUSD * (
                row.requests or 1
            )

        return fits


def vendor_of(organisation_id: int, name: str) -> Vendor:
    """Raises NotFound for a deployment that isn't there, InvalidRequest for one of our own machines."""
    rows = apps.get_model("modelhub", "Deployment").objects.filter(organisation_id=organisation_id)
    target = rows.filter(name=name).first() if "\x00" not in name else None
    if target is None:
        raise NotFound(f"There is no deployment {name!r}.")
    if target.side != "external":
        raise InvalidRequest(
            f"{name} runs on a machine of ours: hold its node's invoice against the books.",
            param="deployment",
        )
    others = [row for row in rows.filter(side="external").order_by("pk") if row.pk != target.pk]
    same = [target, *(row for row in others if origin_of(row.base_url) == origin_of(target.base_url))]
    return Vendor(organisation_id, target.base_url, target.api_key, {row.name: row.model for row in same})


def origin_of(url: str) -> tuple[Any, ...]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def wrong_currency(sentence: str, currency: str) -> BillRefused:
    where = {"path": "currency", "line": None, "column": None, "message": f"{currency} is the wrong currency"}
    advice = "Ask for a bill in that currency, or enter a sheet in the bill's."
    return BillRefused(f"{sentence}. {advice}", code="wrong_currency", errors=[where])
