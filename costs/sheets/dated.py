"""Dated price sheets: create one, end one, take one back. What was in force is never edited."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.models import Attempt, Price
from costs.sheets.amounts import AMOUNTS, check_source, check_terms
from costs.sheets.currencies import USD, NoExchangeRate, check_currency, rate_in_force
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, ValidationFailed
from switchyard.tenancy.models import Organisation
from switchyard.tenancy.services import bump_config

JUST_NOW = timedelta(minutes=1)  # "now" of a form or a file, until it is written


def overlapping(organisation_id: int, deployment: str, start: datetime, end: datetime | None) -> Price | None:
    """A sheet that claims part of [start, end), other than an open one that began earlier: its successor closes that."""
    rows = Price.objects.filter(organisation_id=organisation_id, deployment=deployment)
    rows = rows.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=start))
    if end is not None:
        rows = rows.filter(valid_from__lt=end)
    return rows.exclude(valid_to__isnull=True, valid_from__lt=start).order_by("valid_from").first()


def check_dates(organisation_id: int, deployment: str, start: datetime, end: datetime | None) -> None:
    """Raises ValidationFailed when the sheet ends before it starts, overlaps another, leaves a gap beside one or after an
    open one that it would close, or would close an open one before calls that were metered by it.

    A sheet may begin in the past where nothing was metered since: a price that calls were booked by isn't replaced
    underneath them."""
    if end is not None and end <= start:
        raise ValidationFailed("The price must end after it starts.", param="to")
    clash = overlapping(organisation_id, deployment, start, end)
    if clash is not None:
        raise ValidationFailed(f"The dates overlap those of {clash.version} ({clash}).", param="from")
    rows = Price.objects.filter(organisation_id=organisation_id, deployment=deployment)
    before = rows.filter(valid_from__lt=start).order_by("-valid_from").first()
    after = rows.filter(valid_from__gt=start).order_by("valid_from").first()
    if before is not None and before.valid_to is not None and before.valid_to < start:
        raise _gap(deployment, before.valid_to, start, f"begin this one at {_iso(before.valid_to)}", "from")
    if after is not None and end is not None and end < after.valid_from:
        raise _gap(deployment, end, after.valid_from, f"end this one at {_iso(after.valid_from)}", "to")
    if before is not None and before.valid_to is None:
        _check_closing(before, start, end)


def _check_closing(before: Price, start: datetime, end: datetime | None) -> None:
    """What a new sheet of [start, end) would do to the open one before it. Nothing follows an open one."""
    if end is not None:
        raise ValidationFailed(
            f"This one would close {before.version}, which is open, and from {_iso(end)} on {before.deployment} would have "
            "no price and get no traffic: a sheet with an end needs a successor that begins there. Leave `to` out, and add "
            f"the sheet that begins at {_iso(end)} afterwards; to end a price on purpose, change its `to`.",
            param="to",
        )
    if start >= now() - JUST_NOW:
        return
    calls = Attempt.objects.filter(
        Q(price_version=before.version) | Q(price_version__startswith=f"{before.version}@"),
        organisation_id=before.organisation_id, deployment=before.deployment, at__gte=start,
    )  # fmt: skip
    if calls.exists():
        raise ValidationFailed(
            f"Calls since {_iso(start)} were metered by {before.version}, which would end in the past: enter the new sheet "
            "from now on, and see by re-pricing what those calls would have cost.",
            param="from",
        )


def _gap(deployment: str, start: datetime, end: datetime, mend: str, param: str) -> ValidationFailed:
    return ValidationFailed(
        f"Between {_iso(start)} and {_iso(end)} {deployment} would have no price and get no traffic: {mend}.",
        param=param,
    )


def _iso(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def opening(organisation_id: int, deployment: str) -> datetime:
    """When a sheet begins that says nothing of it: now, or where the last one ended, so that no gap is left."""
    rows = Price.objects.filter(organisation_id=organisation_id, deployment=deployment)
    last = rows.order_by("-valid_from").first()
    return min(now(), last.valid_to) if last is not None and last.valid_to is not None else now()


@transaction.atomic
def create_price(
    *,
    organisation_id: int,
    deployment: str,
    valid_from: datetime,
    source: str,
    actor: Any,
    valid_to: datetime | None = None,
    currency: str = USD,
    **terms: Any,
) -> Price:
    """A new dated sheet; the open one before it ends where it begins. `terms` are Price's amounts, `batch_ppm`, `tiers`.

    Raises ValidationFailed for dates that overlap or leave a gap, and for amounts that are negative or absurd.
    """
    Organisation.objects.select_for_update().get(
        pk=organisation_id
    )  # two sheets at once would not see each other
    source, currency = check_source(source), check_currency(currency)
    check_dates(organisation_id, deployment, valid_from, valid_to)
    try:
        nusd_per_unit = rate_in_force(organisation_id, currency, max(valid_from, now())).nusd_per_unit
    except NoExchangeRate:
        nusd_per_unit = None
    check_terms(terms, nusd_per_unit=nusd_per_unit)
    rows = Price.objects.filter(organisation_id=organisation_id, deployment=deployment, valid_to__isnull=True)
    for row in rows.filter(valid_from__lt=valid_from):
        row.valid_to = valid_from
        row.save(update_fields=["valid_to"])
    price = Price.objects.create(
        organisation_id=organisation_id, deployment=deployment, valid_from=valid_from, valid_to=valid_to,
        source=source, currency=currency, **terms,
    )  # fmt: skip
    record(
        actor=actor, action="price.created", target=f"price:{price.pk}", organisation_id=organisation_id,
        detail={"deployment": deployment, "from": valid_from, "source": source, "currency": currency, **terms},
    )  # fmt: skip
    if nusd_per_unit is None:
        missing_rate(price)
    bump_config()
    return price


@transaction.atomic
def end_price(*, price: Price, end: datetime) -> Price:
    """Let a sheet end earlier. Raises Conflict for history, ValidationFailed for an end that has passed, comes later than
    the present one, or leaves a gap before the sheet that follows."""
    if price.valid_to is not None and price.valid_to <= now():
        raise Conflict("This sheet is history: it was in force and has ended.", code="price_in_history")
    if end <= max(price.valid_from, now()):
        raise ValidationFailed("The end lies in the future, and after `from`.", param="to")
    if price.valid_to is not None and end > price.valid_to:
        raise ValidationFailed("Another sheet may follow: the end can only come earlier.", param="to")
    rows = Price.objects.filter(organisation_id=price.organisation_id, deployment=price.deployment)
    after = rows.filter(valid_from__gt=price.valid_from).order_by("valid_from").first()
    if after is not None and end < after.valid_from:
        raise _gap(
            price.deployment, end, after.valid_from, f"delete {after.version} first, or leave the end", "to"
        )
    price.valid_to = end
    price.save(update_fields=["valid_to"])
    return price


@transaction.atomic
def take_back(*, price: Price) -> None:
    """Delete a sheet that has not begun; the one that ended where it began runs on. Raises Conflict once it was in force."""
    if price.valid_from <= now():
        raise Conflict("A sheet that was in force is kept; end it with `to`.", code="price_in_history")
    rows = Price.objects.filter(organisation_id=price.organisation_id, deployment=price.deployment)
    before = rows.filter(valid_to=price.valid_from).first()
    end = price.valid_to
    price.delete()
    if before is not None:
        before.valid_to = end
        before.save(update_fields=["valid_to"])


def missing_rate(price: Price) -> None:
    """Tell once a day that a sheet can't be turned into dollars: its deployment gets no traffic, now or once it begins."""
    if price.valid_from > now():
        words = _(
            "From %(when)s on %(name)s gets no traffic: its price sheet is then in %(currency)s, and no exchange rate of "
            "%(currency)s is known. Enter one before."
        )
    else:
        words = _(
            "%(name)s gets no traffic: its price sheet is in %(currency)s, and no exchange rate of %(currency)s is in force. "
            "Enter one."
        )
    raise_alert(
        organisation_id=price.organisation_id, kind="missing_exchange_rate", subject=price.deployment,
        message=words % {"name": price.deployment, "currency": price.currency, "when": f"{price.valid_from:%Y-%m-%d}"},
        unique_key=f"missing_exchange_rate:{price.organisation_id}:{price.pk}:{now():%Y%m%d}",
    )  # fmt: skip


def terms_of(price: Price) -> dict[str, Any]:
    """What a sheet says of money, in its own currency, as `create_price` takes it."""
    return {n: getattr(price, n) for n in AMOUNTS} | {
        "batch_ppm": price.batch_ppm,
        "tiers": list(price.tiers),
    }
