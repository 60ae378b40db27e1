"""Hold a bill against the books: read, check the currency, match, correct what is ours, keep the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

from django.db import transaction
from django.db.models import QuerySet

from costs.models import BillCheck, Node
from costs.reconciliation import bills, books, machines
from costs.reconciliation.corrections import SETTLE, correct_books
from costs.reconciliation.fetching import fetch_bill
from costs.reconciliation.lines import Billed, Matched
from costs.reconciliation.match import findings, match
from costs.reconciliation.vendors import Vendor, vendor_of, wrong_currency
from costs.sheets.currencies import to_nusd
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.core.money import format_usd
from switchyard.tenancy.models import Workload
from switchyard.tenancy.querysets import Scope

MARGIN = timedelta(
    days=1
)  # clocks differ: a call at midnight may be billed a day earlier or later than it is booked
LONGEST = timedelta(days=400)
Correct = Literal["none", "estimates", "all"]


class NothingBilled(bills.BillRefused):
    """The bill has no line in the period: it is of another one, or nothing but a header."""

    code = "nothing_billed"


def checks_of(scope: Scope) -> QuerySet[BillCheck]:
    """Bills are the whole organisation's: nobody sees them who isn't of finance in all of it."""
    narrowed = scope.narrowed("finance")
    if narrowed.organisation_id is None or narrowed.lob_ids is not None:
        return BillCheck.objects.none()
    return BillCheck.objects.filter(organisation_id=narrowed.organisation_id)


@dataclass(frozen=True, slots=True)
class _Read:
    """A usage bill of one deployment and period, in nano-dollars. `outside`: when the lines are that lie outside of it."""

    bill: bills.Bill
    lines: list[Billed]
    elsewhere: set[str]
    outside: list[datetime]

    @property
    def total_nusd(self) -> int:
        return sum(line.cost_nusd for line in self.lines)

    @property
    def days(self) -> tuple[date, date] | None:
        """The days that the bill speaks of: its first line's in the period and its last one's, both inclusive."""
        days = [line.at.date() for line in self.lines]
        return (min(days), max(days)) if days else None


def reconcile_usage(
    *,
    organisation_id: int,
    deployment: str,
    start: datetime,
    end: datetime,
    text: str | None = None,
    format: str = "auto",
    currency: str = "",
    correct: Correct = "none",
    actor: Any = None,
    source: str = "",
    settle: timedelta = SETTLE,
) -> BillCheck:
    """A vendor's bill (its text, or fetched from the deployment's server) against what was booked in [start, end), for all
    deployments at the same address: a vendor bills the account.

    The same bill again, with nothing new to say or to correct, gives the check that is there. What was booked before its
    first line's day or after its last one's is told, never corrected. Raises BillRefused, NotFound, InvalidRequest.
    """
    _check_span(start, end)
    vendor, fetched = vendor_of(organisation_id, deployment), text is None
    if text is None:
        text = fetch_bill(
            base_url=vendor.base_url, api_key=vendor.api_key, start=start - MARGIN, end=end + MARGIN
        )
        source, format = source or "fetched from the vendor's server", "json"
    bill = bills.read_usage(text, format=format, currency=currency)
    vendor.check_currency(start, end, bill.currency)
    read = _usage(vendor, start, end, bill)
    before, booked = _match(vendor, start, end, read)
    _check_billed(read, start, end, booked, MARGIN if fetched else timedelta(0))
    made, left, after = 0, read.total_nusd - booked, before
    if correct != "none":
        fixes = [f for f in before.fixes if correct == "all" or f.cause == "estimated"]
        made = correct_books(
            organisation_id=organisation_id, deployment_of=vendor.deployment_of, fixes=fixes, actor=actor, settle=settle,
            reason=f"bill of {deployment}, {bill.digest[:12]}",
        )  # fmt: skip
        if made:
            after, booked_after = _match(vendor, start, end, read)
            left = read.total_nusd - booked_after
    return _keep(
        organisation_id=organisation_id, kind="usage", name=deployment, start=start, end=end, bill=bill, rows=len(read.lines),
        billed=read.total_nusd, booked=booked, left=left, corrections=made, actor=actor, source=_told(source or "uploaded", read),
        found=_with_state(findings(before.gaps), findings(after.gaps)),
    )  # fmt: skip


def reconcile_node(
    *,
    organisation_id: int,
    node: str,
    start: datetime,
    end: datetime,
    text: str,
    currency: str = "",
    actor: Any = None,
    source: str = "",
) -> BillCheck:
    """A machine's invoice against its billed hours in [start, end). Gaps are shown, never corrected: a wrong rate is mended
    where the node's cost is kept, which restates its hours. Raises BillRefused, NotFound."""
    _check_span(start, end)
    if not Node.objects.filter(organisation_id=organisation_id, name=node).exists():
        raise NotFound(f"There is no node {node!r}.")
    bill = bills.read_invoice(text, currency=currency)
    if bill.currency != "USD":
        raise wrong_currency(
            f"The invoice is in {bill.currency}, but {node}'s cost is kept in USD", bill.currency
        )
    rows = [row for row in bill.rows if row.resource.lower() == node.lower()]
    if not rows:
        others = ", ".join(sorted({row.resource for row in bill.rows})[:10])
        raise bills.BillRefused(f"No line of the invoice is of {node}: it names {others or 'nothing'}.")
    hours = books.booked_hours(organisation_id, node, start, end)
    gaps = machines.match_machine(node, [(row, row.amount_nano) for row in rows], hours, start, end)
    booked = sum(hour.bill_nusd for hour in hours)
    billed = booked + sum(gap.nusd for gap in gaps)
    found = [row | {"state": "claim" if row["claim"] else "open"} for row in machines.findings(gaps)]
    return _keep(
        organisation_id=organisation_id, kind="node", name=node, start=start, end=end, bill=bill, rows=len(rows),
        billed=billed, booked=booked, left=billed - booked, corrections=0, found=found, actor=actor, source=source or "uploaded",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- reading
def _check_span(start: datetime, end: datetime) -> None:
    if not start < end <= start + LONGEST:
        raise InvalidRequest("A bill's period ends after it begins, within 400 days.", param="to")


def _check_billed(read: _Read, start: datetime, end: datetime, booked: int, margin: timedelta) -> None:
    """NothingBilled where not one line is of the period, though others are there or something was booked. Lines within
    the margin around it were asked for by ourselves when the bill was fetched."""
    if read.lines or not (booked or any(not start - margin <= at < end + margin for at in read.outside)):
        return
    period = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    what = "The bill has no lines at all"
    if read.outside:
        first, last = min(read.outside), max(read.outside)
        what = f"No line of the bill lies in the period: its {len(read.outside)} are of {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    raise NothingBilled(
        f"{what}. Expected was at least one of {period}, where {format_usd(booked)} USD are booked. Nothing was "
        "corrected. Name the period that the bill is for, or get the bill of this one."
    )


def _told(source: str, read: _Read) -> str:
    """The source, with how many lines were passed over."""
    count = len(read.outside)
    words = f"; {count} line{'s' if count > 1 else ''} outside of the period" if count else ""
    return source[:120] + words


def _usage(vendor: Vendor, start: datetime, end: datetime, bill: bills.Bill) -> _Read:
    at_sheet = vendor.at_sheet(bill.currency)
    lines, elsewhere, outside = [], set(), []
    for row in bill.rows:
        if not start <= row.at < end:
            elsewhere.add(row.request_id)
            outside.append(row.at)
            continue
        nusd = to_nusd(row.amount_nano, bill.currency, row.at, vendor.organisation_id)
        lines.append(Billed(
            at=row.at, model=row.model, cost_nusd=nusd, id=row.request_id, tokens_in=row.tokens_in, tokens_out=row.tokens_out,
            cached_in=row.cached_in, requests=row.requests, whole_day=row.whole_day, at_sheet=at_sheet(row),
            account=row.account,
        ))  # fmt: skip
    return _Read(bill, lines, elsewhere - {line.id for line in lines}, outside)


# ------------------------------------------------------------------------------------------------- matching
def _match(vendor: Vendor, start: datetime, end: datetime, read: _Read) -> tuple[Matched, int]:
    """The gaps, and what was booked, in nano-dollars. Of calls on days that the bill doesn't speak of, gaps alone: a
    partial bill doesn't say that the rest wasn't billed."""
    named, organisation_id = {line.id for line in read.lines if line.id}, vendor.organisation_id
    rows = books.booked_calls(
        organisation_id, vendor.deployments, start, end, named=named, elsewhere=read.elsewhere
    )
    done = match(read.lines, rows, books.repricer(organisation_id))
    lobs = _lobs_by_model(organisation_id)
    done.gaps = [g if g.lob else replace(g, lob=lobs(g.model)) for g in done.gaps]
    days = read.days
    unspoken = {row.ref for row in rows if days is None or not days[0] <= row.at.date() <= days[1]}
    done.fixes = [f for f in done.fixes if f.cause != "unbilled" or f.ref not in unspoken]
    done.fixes = [f if f.lob or f.ref else replace(f, lob=lobs(f.model)) for f in done.fixes]
    return done, sum(row.cost_nusd for row in rows)


def _lobs_by_model(organisation_id: int) -> Any:
    """A model asked for as `<model>/<workload>` tells whose work it was; else nobody knows."""
    known = dict(Workload.objects.filter(organisation_id=organisation_id).values_list("name", "lob__slug"))
    return lambda model: known.get(model.partition("/")[2].partition("@")[0], "")


def _with_state(found: list[dict[str, Any]], left: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each finding as it stands: corrected, a claim against the vendor, or open."""
    names = ("day", "model", "lob", "cause", "detail")
    remaining = {tuple(row[n] for n in names) for row in left}
    states = {True: "claim", False: "open"}
    return [
        row
        | {"state": states[bool(row["claim"])] if tuple(row[n] for n in names) in remaining else "corrected"}
        for row in found
    ]


# ------------------------------------------------------------------------------------------------- keeping
@transaction.atomic
def _keep(
    *, organisation_id: int, kind: str, name: str, start: datetime, end: datetime, bill: bills.Bill, rows: int, billed: int,
    booked: int, left: int, corrections: int, found: list[dict[str, Any]], actor: Any, source: str,
) -> BillCheck:  # fmt: skip
    same = BillCheck.objects.filter(
        organisation_id=organisation_id, kind=kind, name=name, start=start, end=end, digest=bill.digest
    )
    known = same.first()
    if known is not None and not corrections and known.left_nusd == billed - booked:
        return known
    check = BillCheck.objects.create(
        organisation_id=organisation_id, kind=kind, name=name, start=start, end=end, currency=bill.currency, rows=rows,
        billed_nusd=billed, booked_nusd=booked, gap_nusd=billed - booked, left_nusd=left, findings=found,
        corrections=corrections, digest=bill.digest, source=_source(source, known)[:200], made_at=now(),
        made_by=getattr(actor, "username", "") or (actor if isinstance(actor, str) else ""),
    )  # fmt: skip
    record(
        actor=actor, action="bill.checked", target=f"bill:{check.pk}", organisation_id=organisation_id,
        detail={"kind": kind, "name": name, "from": start, "to": end, "digest": bill.digest, "gap_nusd": check.gap_nusd,
                "left_nusd": left, "corrections": corrections},
    )  # fmt: skip
    return check


def _source(source: str, known: BillCheck | None) -> str:
    return f"{source}; the bill of check {known.pk} again" if known else source


def totals_of(found: Iterable[dict[str, Any]]) -> dict[str, int]:
    """State → nano-dollars of gap."""
    totals = {"corrected": 0, "claim": 0, "open": 0}
    for row in found:
        totals[str(row["state"])] += int(row["gap_nusd"])
    return totals
