"""Hold a bill against the books: read, check the currency, match, correct what is ours, keep the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
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
from switchyard.tenancy.models import Workload
from switchyard.tenancy.querysets import Scope

MARGIN = timedelta(
    days=1
)  # clocks differ: a call at midnight may be billed a day earlier or later than it is booked
LONGEST = timedelta(days=400)
Correct = Literal["none", "estimates", "all"]


def checks_of(scope: Scope) -> QuerySet[BillCheck]:
    """Bills are the whole organisation's: nobody sees them who isn't of finance in all of it."""
    narrowed = scope.narrowed("finance")
    if narrowed.organisation_id is None or narrowed.lob_ids is not None:
        return BillCheck.objects.none()
    return BillCheck.objects.filter(organisation_id=narrowed.organisation_id)


@dataclass(frozen=True, slots=True)
class _Read:
    """A usage bill of one deployment and period, in nano-dollars."""

    bill: bills.Bill
    lines: list[Billed]
    elsewhere: set[str]

    @property
    def total_nusd(self) -> int:
        return sum(line.cost_nusd for line in self.lines)


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

    The same bill again, with nothing new to say or to correct, gives the check that is there. Raises BillRefused,
    NotFound, InvalidRequest; fetching raises what `fetch_bill` does.
    """
    _check_span(start, end)
    vendor = vendor_of(organisation_id, deployment)
    if text is None:
        text = fetch_bill(
            base_url=vendor.base_url, api_key=vendor.api_key, start=start - MARGIN, end=end + MARGIN
        )
        source, format = source or "fetched from the vendor's server", "json"
    bill = bills.read_usage(text, format=format, currency=currency)
    vendor.check_currency(start, end, bill.currency)
    read = _usage(vendor, start, end, bill)
    before, booked = _match(vendor, start, end, read)
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
        billed=read.total_nusd, booked=booked, left=left, corrections=made, actor=actor, source=source or "uploaded",
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


def _usage(vendor: Vendor, start: datetime, end: datetime, bill: bills.Bill) -> _Read:
    at_sheet = vendor.at_sheet(bill.currency)
    lines, elsewhere = [], set()
    for row in bill.rows:
        if not start <= row.at < end:
            elsewhere.add(row.request_id)
            continue
        nusd = to_nusd(row.amount_nano, bill.currency, row.at, vendor.organisation_id)
        lines.append(Billed(
            at=row.at, model=row.model, cost_nusd=nusd, id=row.request_id, tokens_in=row.tokens_in, tokens_out=row.tokens_out,
            cached_in=row.cached_in, requests=row.requests, whole_day=row.whole_day, at_sheet=at_sheet(row),
            account=row.account,
        ))  # fmt: skip
    return _Read(bill, lines, elsewhere - {line.id for line in lines})


# ------------------------------------------------------------------------------------------------- matching
def _match(vendor: Vendor, start: datetime, end: datetime, read: _Read) -> tuple[Matched, int]:
    """The gaps, and what was booked, in nano-dollars."""
    named, organisation_id = {line.id for line in read.lines if line.id}, vendor.organisation_id
    rows = books.booked_calls(
        organisation_id, vendor.deployments, start, end, named=named, elsewhere=read.elsewhere
    )
    done = match(read.lines, rows, books.repricer(organisation_id))
    lobs = _lobs_by_model(organisation_id)
    done.gaps = [g if g.lob else replace(g, lob=lobs(g.model)) for g in done.gaps]
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
