"""A deployment from a catalogue entry, with its price sheet: shown first, then made; and prices of those there are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from costs.models import Node
from costs.sheets.amounts import OUTSIDE
from costs.sheets.dated import create_price, opening
from costs.sheets.deployments import external_models
from costs.sheets.imports import Diff, diff_prices, import_prices
from modelhub.catalogue.entries import CatalogueModel, Vendor, vendor_named, vendors
from modelhub.models import Deployment
from modelhub.services.registration import checked_base_url
from modelhub.services.upstream_headers import checked_headers
from switchyard.audit.services import record
from switchyard.core.errors import Conflict, InvalidRequest
from switchyard.core.money import usd_to_nusd
from switchyard.tenancy.models import Organisation

DEFAULT_OUTPUT_TOKENS = 1024
SOURCE = "Switchyard's catalogue (data/catalogue)"
_PLACE = re.compile(r"\{([a-z]+)\}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What would be made. `prices`: columns of our price files, empty for a server of one's own."""

    vendor: Vendor
    name: str
    model: str
    base_url: str
    side: str
    task: str
    max_output_tokens: int
    prices: Mapping[str, str]
    batch_pct: str
    source: str

    def as_json(self) -> dict[str, Any]:
        return {
            "vendor": self.vendor.slug, "name": self.name, "model": self.model, "base_url": self.base_url, "side": self.side,
            "tasks": [self.task], "max_output_tokens": self.max_output_tokens, "prices": dict(self.prices),
            "batch_pct": self.batch_pct, "source": self.source, "note": self.vendor.note, "docs": self.vendor.docs,
        }  # fmt: skip


def plan(
    *, vendor: str, model: str, name: str = "", places: Mapping[str, str] | None = None, base_url: str = ""
) -> Wanted:
    """Raises NotFound for what the catalogue lacks, InvalidRequest for an address with places left open."""
    entry = vendor_named(vendor)
    known = (
        entry.model(model) if entry.models else None
    )  # of some vendors it knows where they answer, and no prices
    url = base_url or _PLACE.sub(lambda found: (places or {}).get(found[1], found[0]), entry.base_url)
    if left := _PLACE.findall(url):
        raise InvalidRequest(f"{entry.name} answers at {url}: say what {', '.join(left)} is.", param="places")
    slug = name or re.sub(r"[^a-z0-9]+", "-", f"{entry.slug}-{model}".lower()).strip("-")[:63]
    cap = known.max_output_tokens if known is not None else None
    return Wanted(
        entry, slug, model, url, "external" if entry.kind == "vendor" else "private", known.task if known else "chat",
        min(cap or DEFAULT_OUTPUT_TOKENS, DEFAULT_OUTPUT_TOKENS), known.prices if known else {},
        known.batch_pct if known else "", known.told_source if known else "",
    )  # fmt: skip


@transaction.atomic
def add(
    *, organisation_id: int, wanted: Wanted, actor: Any, api_key: str = "", headers: Mapping[str, str] | None = None,
    node: str = "",
) -> Deployment:  # fmt: skip
    """Make the deployment, and open its sheet with the catalogue's source. Raises Conflict when the name is taken,
    InvalidRequest for an address that may not be called, a key that is missing, or a node that isn't there."""
    if Deployment.objects.filter(organisation_id=organisation_id, name=wanted.name).exists():
        raise Conflict(f"There is a deployment {wanted.name!r} already: choose another name.", param="name")
    if wanted.vendor.kind == "vendor" and not api_key and not headers:
        raise InvalidRequest(f"{wanted.vendor.name} wants a key.", param="api_key")
    row = Deployment(
        organisation=Organisation.objects.get(pk=organisation_id), name=wanted.name, side=wanted.side,
        base_url=checked_base_url(wanted.base_url), model=wanted.model, tasks=[wanted.task],
        max_output_tokens=wanted.max_output_tokens, note=wanted.vendor.note[:300], node=_node(organisation_id, node),
    )  # fmt: skip
    own = dict(headers or {})
    if wanted.vendor.auth == "header" and api_key:
        own.setdefault(wanted.vendor.header, api_key)
    elif wanted.vendor.auth == "bearer":
        row.api_key = api_key
    row.headers = checked_headers(own)
    try:
        row.full_clean(exclude=["organisation"])
    except ValidationError as error:
        raise InvalidRequest("; ".join(error.messages), param=next(iter(error.message_dict))) from None
    row.save()
    if wanted.prices:
        create_price(
            organisation_id=organisation_id, deployment=row.name, valid_from=opening(organisation_id, row.name),
            source=wanted.source, actor=actor, **_terms(wanted),
        )  # fmt: skip
    record(
        actor=actor, action="deployment.added_from_catalogue", target=f"deployment:{row.name}",
        organisation_id=organisation_id, detail={"vendor": wanted.vendor.slug, "model": wanted.model, "source": wanted.source},
    )  # fmt: skip
    return row


def _node(organisation_id: int, name: str) -> Node | None:
    if not name:
        return None
    found = Node.objects.filter(organisation_id=organisation_id, name=name).first()
    if found is None:
        raise InvalidRequest(f"There is no node {name[:60]!r}.", param="node")
    return found


def _terms(wanted: Wanted) -> dict[str, Any]:
    inside = {outside: column for column, outside in OUTSIDE.items()}
    terms: dict[str, Any] = {inside[name]: usd_to_nusd(amount) for name, amount in wanted.prices.items()}
    if wanted.batch_pct:
        terms["batch_ppm"] = round(float(wanted.batch_pct) * 10_000)
    return terms


# ------------------------------------------------------------------------------------------------- prices
def price_file(organisation_id: int) -> str:
    """The catalogue's prices of the external deployments there are, as a price file of ours."""
    used = set(external_models(organisation_id).values())
    found: dict[str, CatalogueModel] = {}
    for vendor in vendors():
        for row in vendor.models:
            if row.model in used and row.priced:
                found.setdefault(row.model, row)
    columns = ["model", "input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok",
               "cache_write_usd_per_mtok", "batch_pct"]  # fmt: skip
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="")
    writer.writeheader()
    for name in sorted(found):
        writer.writerow({"model": name, "batch_pct": found[name].batch_pct} | found[name].prices)
    return out.getvalue()


def refresh_prices(*, organisation_id: int, actor: Any, apply: bool) -> Diff:
    """What the catalogue's prices would change, or with `apply` the change: as `costs.sheets.imports` does it for a file."""
    dates = " and ".join(sorted({row.as_of for vendor in vendors() for row in vendor.models}))
    asked: dict[str, Any] = {
        "organisation_id": organisation_id, "text": price_file(organisation_id), "kind": "csv",
        "source": f"{SOURCE}, as of {dates}",
    }  # fmt: skip
    return import_prices(actor=actor, **asked) if apply else diff_prices(**asked)
