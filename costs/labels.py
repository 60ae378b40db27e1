"""Labels are money: each labelled row, review and accepted feedback item is a line of the ledger, at the line of business's
price per label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from costs import label_hours
from costs.books import fiscal
from costs.books.writing import append_many
from costs.budgets import reserve_labels
from costs.ledger import expense_account
from costs.models import Alert, LedgerEntry
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import BudgetExhausted, InvalidRequest
from switchyard.core.money import format_usd
from switchyard.tenancy.models import LineOfBusiness
from switchyard.tenancy.services import bump_config

PURPOSES = label_hours.PURPOSES
ACCOUNT = "payable:labels"
DEMONSTRATION = "demonstration"
MOST_NUSD = 1_000_000 * 1_000_000_000  # a million dollars for one label is a slip of the keyboard
LOOKED_UP, WRITTEN = 500, 5_000  # ids of one query, rows of one append


@dataclass(frozen=True, slots=True)
class Labelled:
    """One thing that somebody labelled. `event_id` (≤80 characters) names it for good, so that it is charged once."""

    event_id: str
    organisation_id: int
    lob: str
    workload: str
    purpose: str  # of PURPOSES
    at: datetime
    memo: str = ""
    origin: str = "live"


@dataclass(frozen=True, slots=True)
class Charged:
    """What a charge came to: lines of the ledger, nano-dollars, and what no budget had room for."""

    lines: int = 0
    amount_nusd: int = 0
    refused: int = 0

    def __add__(self, other: Charged) -> Charged:
        return Charged(
            self.lines + other.lines, self.amount_nusd + other.amount_nusd, self.refused + other.refused
        )


@transaction.atomic
def charge(items: Sequence[Labelled]) -> Charged:
    """Book all of it or nothing; what is booked already costs nothing again, and neither does a price of zero.

    Raises BudgetExhausted when the labelling budget of the line of business (or one that covers everything) has no room.
    """
    done = Charged()
    for (organisation_id, lob), group in _by_lob(items).items():
        price = _price(organisation_id, lob, lock=any(item.origin != DEMONSTRATION for item in group))
        fresh = _unbooked(group) if price else []
        counted = [
            item for item in fresh if item.origin != DEMONSTRATION
        ]  # the history was nobody's spending
        if counted:
            reserve_labels(organisation_id, lob, len(counted) * price, max(item.at for item in counted))
        done += _book(fresh, price)
    return done


@transaction.atomic
def charge_what_fits(items: Sequence[Labelled]) -> Charged:
    """Book what the budgets have room for, oldest first; the rest is left unbooked, with one alert a budget and period."""
    done = Charged()
    for (organisation_id, lob), group in _by_lob(items).items():
        price = _price(organisation_id, lob, lock=any(item.origin != DEMONSTRATION for item in group))
        fresh = _unbooked(group) if price else []
        free = [item for item in fresh if item.origin == DEMONSTRATION]
        counted = sorted((item for item in fresh if item.origin != DEMONSTRATION), key=lambda item: item.at)
        fitting = _fitting(organisation_id, lob, counted, price)
        done += _book(free + counted[:fitting], price) + Charged(refused=len(counted) - fitting)
    return done


def _fitting(organisation_id: int, lob: str, items: Sequence[Labelled], price: int) -> int:
    """How many of them, from the first on, the budgets take: all, else found by halving."""
    low, high = 0, len(items)
    refusal: BudgetExhausted | None = None
    tried = high
    while low < high:
        try:
            reserve_labels(organisation_id, lob, tried * price, items[tried - 1].at)
            low = tried
        except BudgetExhausted as error:
            high, refusal = tried - 1, error
        tried = (low + high + 1) // 2
    if refusal is not None:
        Alert.objects.bulk_create([_unlabelled_alert(organisation_id, lob, refusal)], ignore_conflicts=True)
    return low


def _unlabelled_alert(organisation_id: int, lob: str, refusal: BudgetExhausted) -> Alert:
    budget, resets_at = refusal.extra.get("budget"), refusal.extra.get("resets_at")
    return Alert(
        organisation_id=organisation_id, kind="label_budget", lob=lob, subject=str(refusal.extra.get("scope") or lob),
        message=(_("Feedback of %(lob)s is kept, but no longer booked as labels.") % {"lob": lob} + f" {refusal.message}")[:400],
        unique_key=f"label_budget:{organisation_id}:{lob}:{budget}:{resets_at}"[:160],
    )  # fmt: skip


def _by_lob(items: Iterable[Labelled]) -> dict[tuple[int, str], list[Labelled]]:
    """In a fixed order, so that bookings side by side take their locks in the same one."""
    groups: dict[tuple[int, str], list[Labelled]] = {}
    for item in items:
        groups.setdefault((item.organisation_id, item.lob), []).append(item)
    return dict(sorted(groups.items()))


def _price(organisation_id: int, lob: str, *, lock: bool) -> int:
    """Nano-dollars a label. The row stays locked until the transaction ends: the same things, told twice at once, would
    else both be looked up before either is booked. The replay of the history is alone with what it tells."""
    rows = LineOfBusiness.objects.filter(organisation_id=organisation_id, slug=lob)
    if lock:
        rows = rows.select_for_update(no_key=True)
    return rows.values_list("label_price_nusd", flat=True).first() or 0


def _unbooked(items: Sequence[Labelled]) -> list[Labelled]:
    """Each once, without those the ledger holds: the same thing may come again in another month."""
    once = {item.event_id: item for item in items}
    known: set[str] = set()
    for ids in _chunks(list(once), LOOKED_UP):
        known.update(LedgerEntry.objects.filter(event_id__in=ids).values_list("event_id", flat=True))
    return [item for event_id, item in once.items() if event_id not in known]


def _book(items: Sequence[Labelled], price: int) -> Charged:
    closed = fiscal.closed_spans({item.organisation_id for item in items}) if items else {}
    for chunk in _chunks(items, WRITTEN):
        entries = [_entry(_dated(item, closed), price) for item in chunk]
        append_many(entries)
        label_hours.add(entries)
    return Charged(len(items), len(items) * price)


def _dated(item: Labelled, closed: Mapping[int, fiscal.Closed]) -> Labelled:
    """Feedback that comes when its month is closed is booked now, and says so."""
    late = fiscal.lateness(closed.get(item.organisation_id, []), item.at)
    if not late:
        return item
    alert = fiscal.late_alert(item.organisation_id, late, item.event_id, item.lob)
    Alert.objects.bulk_create([alert], ignore_conflicts=True)
    return replace(item, at=now(), memo=f"{late}: {item.memo}")


def _entry(item: Labelled, price: int) -> LedgerEntry:
    return LedgerEntry(
        event_id=item.event_id, organisation_id=item.organisation_id, at=item.at, recorded_at=now(),
        debit=expense_account(item.lob), credit=ACCOUNT, amount_nusd=price, lob=item.lob, workload=item.workload,
        purpose=item.purpose, memo=item.memo[:200], price_version=f"label:{item.lob}@{format_usd(price)}"[:60],
        origin=item.origin,
    )  # fmt: skip


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


@transaction.atomic
def set_label_price(*, lob: LineOfBusiness, price_nusd: int, actor: Any) -> LineOfBusiness:
    """What a label costs from now on; lines that are booked keep theirs. Raises InvalidRequest."""
    if not 0 <= price_nusd <= MOST_NUSD:
        raise InvalidRequest(
            f"A label costs from $0 (labels aren't booked) to ${format_usd(MOST_NUSD)}; "
            f"${format_usd(price_nusd)} was given.",
            param="label_usd",
        )
    if lob.label_price_nusd != price_nusd:
        before, lob.label_price_nusd = lob.label_price_nusd, price_nusd
        lob.save(update_fields=["label_price_nusd"])
        record(
            actor=actor, action="lob.changed", target=f"lob:{lob.slug}", lob=lob.slug, organisation_id=lob.organisation_id,
            detail={"label_usd": [format_usd(before), format_usd(price_nusd)]},
        )  # fmt: skip
        bump_config()
    return lob
