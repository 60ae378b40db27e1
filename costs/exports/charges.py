"""The ledger's side of a statement: what the account of a line of business took in a month, from balances and roll-ups.

Transfers themselves are read only where no roll-up tells of them: what was booked late, and what was charged without a call.
Both are few, and partial indexes of their own hold them, however long the ledger is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import BooleanField, Case, Count, Q, QuerySet, Sum, Value, When

from costs.label_hours import PURPOSES as LABEL_PURPOSES
from costs.ledger import expense_account
from costs.models import AccountHour, LabelHour, LedgerEntry
from switchyard.core.money import NUSD_PER_USD

LATE = "late for "  # what the books write into the memo of a transfer that came after its month was closed
LABELS = "payable:labels"
NAMED = 500  # corrections shown one by one; the rest is one line


@dataclass(frozen=True, slots=True)
class Line:
    """One charge. `section`: work | labels | other | loaded | correction. Quantity × unit price is the amount but for
    rounding: the price shown is the average."""

    section: str
    what: str
    amount_nusd: int
    application: str = ""
    workload: str = ""
    model: str = ""
    side: str = ""
    purpose: str = ""
    quantity: Decimal | None = None
    unit: str = ""
    note: str = ""

    @property
    def unit_price_usd(self) -> Decimal | None:
        if not self.quantity:
            return None
        each = Decimal(self.amount_nusd) / NUSD_PER_USD / self.quantity
        return each.quantize(Decimal("0.000000001"))


@dataclass(frozen=True, slots=True)
class Span:
    """A line of business's month: start inclusive, end exclusive."""

    organisation_id: int
    lob: str
    start: datetime
    end: datetime

    @property
    def account(self) -> str:
        return expense_account(self.lob)

    def entries(self) -> QuerySet[LedgerEntry]:
        """The month's transfers of the account, on either side."""
        rows = LedgerEntry.objects.filter(
            organisation_id=self.organisation_id, at__gte=self.start, at__lt=self.end
        )
        return rows.filter(Q(debit=self.account) | Q(credit=self.account))

    def late(self) -> QuerySet[LedgerEntry]:
        """Booked this month for an earlier one: its memo says so."""
        return self.entries().filter(memo__contains=LATE)


@dataclass(frozen=True, slots=True)
class Late:
    """What was booked late, with the same names: the account on the other side, and what the line of business was charged."""

    other: str
    workload: str
    purpose: str
    metered: bool
    count: int
    amount_nusd: int


def late_transfers(span: Span) -> list[Late]:
    sums: dict[tuple[str, str, str, bool], list[int]] = defaultdict(lambda: [0, 0])
    names = ("debit", "credit", "workload", "purpose", "metered")
    rows = span.late().annotate(metered=_flag(Q(attempt__isnull=False))).order_by().values(*names)
    for row in rows.annotate(n=Count("pk"), nusd=Sum("amount_nusd")):
        other, sign = _other(span, row["debit"], row["credit"])
        of_names = sums[other, row["workload"], row["purpose"], row["metered"]]
        of_names[0] += sign * row["n"]
        of_names[1] += sign * row["nusd"]
    return [Late(*key, *both) for key, both in sorted(sums.items())]


def moved_calls(span: Span) -> dict[str, dict[tuple[str, str], int]]:
    """Vendor's or machine's account → (application, workload) → what calls as booked in the month are above the work of the
    month as it stands now, as far as transfers that came late say why.

    A call of this month that was corrected after it was closed is booked in another one, whose memo names this month; a call
    that came after its own month was closed is work of this one, and its transfer stands among the corrections.
    """
    found: dict[str, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    again = Q(reverses__isnull=False) | ~Q(event_id__endswith="/0")  # of a call that was booked before
    month, late = f"{LATE}{span.start:%Y-%m}", LedgerEntry.objects.filter(memo__contains=LATE)
    elsewhere = late.filter(again, organisation_id=span.organisation_id, at__gte=span.end)
    elsewhere = elsewhere.filter(Q(debit=span.account) | Q(credit=span.account), memo__contains=month)
    names = ("debit", "credit", "application", "workload")
    for rows in (elsewhere, span.late().exclude(again)):
        sums = rows.filter(attempt__isnull=False).order_by().values(*names).annotate(nusd=Sum("amount_nusd"))
        for row in sums:
            other, sign = _other(span, row["debit"], row["credit"])
            found[other][row["application"], row["workload"]] -= sign * row["nusd"]
    return found


def _flag(condition: Q) -> Case:
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=BooleanField())


def _other(span: Span, debit: str, credit: str) -> tuple[str, int]:
    """(the account on the other side, 1 for a charge or -1 for one that was taken back)."""
    return (credit, 1) if debit == span.account else (debit, -1)


def metered_by_account(span: Span) -> dict[str, int]:
    """Vendor's or machine's account → what calls were booked against it for this line of business, late ones too.

    The balances of each account less what moved on it without a call: labels, and the few transfers that are nobody's call.
    """
    hours = AccountHour.objects.filter(
        organisation_id=span.organisation_id, lob=span.lob, start__gte=span.start, start__lt=span.end
    ).exclude(account=span.account)
    found: dict[str, int] = defaultdict(int)
    for row in hours.order_by().values("account").annotate(d=Sum("debit_nusd"), c=Sum("credit_nusd")):
        found[row["account"]] = row["c"] - row["d"]
    found[LABELS] -= sum(nusd for _, _, _, nusd in _labels(span))
    beside = _unmetered(span).order_by().values("debit", "credit").annotate(nusd=Sum("amount_nusd"))
    for row in beside:
        found[row["debit"]] += row["nusd"]
        found[row["credit"]] -= row["nusd"]
    found.pop(span.account, None)
    return {account: nusd for account, nusd in found.items() if nusd}


def _unmetered(span: Span) -> QuerySet[LedgerEntry]:
    """What is neither a call nor a label: found by the index of transfers without an attempt."""
    rows = LedgerEntry.objects.filter(
        organisation_id=span.organisation_id, lob=span.lob, at__gte=span.start, at__lt=span.end
    )
    return rows.filter(attempt__isnull=True).exclude(purpose__in=LABEL_PURPOSES)


def _labels(span: Span) -> Iterator[tuple[str, str, int, int]]:
    """(workload, purpose, lines, nano-dollars), late ones too."""
    hours = LabelHour.objects.filter(
        organisation_id=span.organisation_id, lob=span.lob, start__gte=span.start, start__lt=span.end
    )
    rows = hours.order_by("workload", "purpose").values_list("workload", "purpose")
    yield from rows.annotate(n=Sum("lines"), nusd=Sum("amount_nusd"))


def label_lines(span: Span, late: Iterable[Late]) -> Iterator[Line]:
    """Labels, reviews and feedback of the month itself."""
    apart: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in late:
        if not one.metered and one.purpose in LABEL_PURPOSES:
            apart[one.workload, one.purpose][0] += one.count
            apart[one.workload, one.purpose][1] += one.amount_nusd
    for workload, purpose, count, nusd in _labels(span):
        count, nusd = count - apart[workload, purpose][0], nusd - apart[workload, purpose][1]
        if nusd:
            yield Line(
                "labels", purpose, nusd, workload=workload, purpose=purpose, quantity=_quantity(count), unit="item",
            )  # fmt: skip


def other_lines(span: Span) -> Iterator[Line]:
    """What else was charged without a call."""
    rows = (
        _unmetered(span).filter(Q(debit=span.account) | Q(credit=span.account)).exclude(memo__contains=LATE)
    )
    names = ("application", "workload", "purpose", "debit", "credit")
    sums: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows.order_by().values(*names).annotate(n=Count("pk"), nusd=Sum("amount_nusd")):
        other, sign = _other(span, row["debit"], row["credit"])
        both = sums[row["application"], row["workload"], row["purpose"], other]
        both[0] += sign * row["n"]
        both[1] += sign * row["nusd"]
    for (application, workload, purpose, other), (count, nusd) in sorted(sums.items()):
        if nusd:
            yield Line(
                "other", purpose or other, nusd, application=application, workload=workload, purpose=purpose,
                quantity=_quantity(count), unit="transfer",
            )  # fmt: skip


def _quantity(count: int) -> Decimal | None:
    return Decimal(count) if count > 0 else None


def correction_lines(span: Span, late: Iterable[Late]) -> Iterator[Line]:
    """What was booked this month for an earlier one, the first of them by name."""
    left, count = sum(one.amount_nusd for one in late), 0
    if not any(True for _ in late):
        return
    for row in span.late().order_by("pk")[:NAMED]:
        other, sign = _other(span, row.debit, row.credit)
        yield Line(
            "correction", row.event_id, sign * row.amount_nusd, application=row.application, workload=row.workload,
            purpose=row.purpose, side="external" if other.startswith("payable:") else "private", note=row.memo,
        )  # fmt: skip
        left, count = left - sign * row.amount_nusd, count + 1
    if count == NAMED and (more := span.late().count() - NAMED):
        yield Line("correction", f"{more} more corrections of earlier months", left)


def unnamed(span: Span, lines: Iterable[Line]) -> Iterator[Line]:
    """What the account took beyond these lines: transfers booked to it under another name, and costs without parts."""
    rows = AccountHour.objects.filter(
        organisation_id=span.organisation_id, account=span.account, start__gte=span.start, start__lt=span.end
    )
    if rest := _net(rows) - sum(line.amount_nusd for line in lines):
        yield Line("other", "charged beyond the lines above", rest, note=span.account)


def opening_nusd(span: Span) -> int:
    """What the account held before the month."""
    return _net(
        AccountHour.objects.filter(
            organisation_id=span.organisation_id, account=span.account, start__lt=span.start
        )
    )


def _net(rows: QuerySet[AccountHour]) -> int:
    sums = rows.aggregate(debit=Sum("debit_nusd"), credit=Sum("credit_nusd"))
    return (sums["debit"] or 0) - (sums["credit"] or 0)
