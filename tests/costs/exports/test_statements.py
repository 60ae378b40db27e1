"""A month's statement ties to the ledger's account of the line of business to the nano-dollar, whatever was corrected."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from costs.books.corrections import book_missing, correct_attempt
from costs.books.fiscal import month_end
from costs.exports import charges
from costs.exports.statements import Statement, statement
from costs.ledger import append, credit_account, expense_account
from costs.metering import record_events
from costs.models import Attempt, FiscalPeriod, LedgerEntry, NodeInterval, SpendHour
from costs.rollups import refresh, refresh_days
from tests import factories
from tests.costs.events import make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
OCTOBER, NOVEMBER = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture
def organisation() -> Any:
    organisation = factories.make_organisation()
    factories.make_lob(organisation)
    for month in (OCTOBER, NOVEMBER):
        events = []
        for i in range(6):
            external = make_attempt(cost_nusd=1_400 + i, legs={"input": 1_000, "output": 400 + i})
            private = private_attempt(cost_nusd=900 + i, legs={"compute": 900 + i})
            at = month + timedelta(days=3 + i)
            events.append(make_event(external if i % 2 else private, at=at, organisation_id=organisation.pk))
        events.append(make_event(at=month + timedelta(days=2), organisation_id=organisation.pk, lob="legal"))
        record_events(events)
    refresh(OCTOBER, NOVEMBER + timedelta(days=29))
    return organisation


def ledger_nusd(organisation: Any, month: datetime, lob: str = "customer-service") -> int:
    """The account's movement, straight from the transfers."""
    rows = LedgerEntry.objects.filter(organisation_id=organisation.pk, at__gte=month, at__lt=month_end(month))
    account = expense_account(lob)
    return sum((rows.filter(**{side: account}).aggregate(n=Sum("amount_nusd"))["n"] or 0) * sign
               for side, sign in (("debit", 1), ("credit", -1)))  # fmt: skip


def of(organisation: Any, month: datetime, **more: Any) -> Statement:
    return statement(organisation_id=organisation.pk, lob="customer-service", month=month, **more)


def test_a_plain_month_lists_each_meter_and_ties_to_the_ledger(organisation: Any):
    made = of(organisation, OCTOBER)
    assert (
        made.total_nusd
        == ledger_nusd(organisation, OCTOBER)
        == sum(1_400 + i if i % 2 else 900 + i for i in range(6))
    )
    assert {(line.what, line.side, line.model) for line in made.lines} == {
        ("input tokens", "external", "txt-edge"), ("output tokens", "external", "txt-edge"),
        ("accelerator time", "private", "txt-base"),
    }  # fmt: skip
    tokens = next(line for line in made.lines if line.what == "input tokens")
    assert (str(tokens.quantity), tokens.amount_nusd, str(tokens.unit_price_usd)) == (
        "0.00006",
        3_000,
        "0.050000000",
    )


def test_a_month_opens_with_what_the_one_before_closed_at(organisation: Any):
    first, second = of(organisation, OCTOBER), of(organisation, NOVEMBER)
    assert (first.opening_nusd, second.opening_nusd) == (0, first.closing_nusd)


def test_labels_stand_on_lines_of_their_own_with_their_price(organisation: Any):
    for i in range(3):
        append(
            event_id=f"labels:{i}", organisation_id=organisation.pk, debit=expense_account("customer-service"),
            credit="payable:labels", amount_nusd=20_000_000, at=OCTOBER + timedelta(days=i), lob="customer-service",
            workload="support-intent", purpose="label",
        )  # fmt: skip
    made = of(organisation, OCTOBER)
    (line,) = [line for line in made.lines if line.section == "labels"]
    assert (line.purpose, line.quantity, str(line.unit_price_usd)) == ("label", 3, "0.020000000")
    assert made.total_nusd == ledger_nusd(organisation, OCTOBER)


def test_a_correction_within_an_open_month_is_part_of_its_lines(organisation: Any):
    row = Attempt.objects.filter(lob="customer-service", side="external", at__lt=NOVEMBER).first()
    correct_attempt(attempt=row, cost_nusd=5_000, tokens_in=90, tokens_out=3, reason="the bill says so")
    made = of(organisation, OCTOBER)
    assert made.total_nusd == ledger_nusd(organisation, OCTOBER) and {
        line.section for line in made.lines
    } == {"work"}


def close(organisation: Any, month: datetime) -> None:
    FiscalPeriod.objects.create(
        organisation_id=organisation.pk, start=month, end=month_end(month), state="closed", reason="audited"
    )


def test_corrections_of_a_closed_month_are_named_in_the_month_they_were_made_in(organisation: Any):
    before = of(organisation, OCTOBER)
    close(organisation, OCTOBER)
    row = Attempt.objects.filter(lob="customer-service", side="external", at__lt=NOVEMBER).first()
    with time_machine.travel(NOVEMBER + timedelta(days=20), tick=False):
        correct_attempt(attempt=row, cost_nusd=5_000, tokens_in=90, tokens_out=3, reason="the bill says so")
        book_missing(
            organisation_id=organisation.pk, request_id="req_late", deployment="ext-mini", model="txt-edge", tokens_in=9,
            tokens_out=1, cost_nusd=777, at=OCTOBER + timedelta(days=9), reason="billed, not booked", lob="customer-service",
        )  # fmt: skip
    october, november = of(organisation, OCTOBER), of(organisation, NOVEMBER)
    assert october.total_nusd == before.total_nusd == ledger_nusd(organisation, OCTOBER), (
        "what was closed stays as it was"
    )
    assert november.total_nusd == ledger_nusd(organisation, NOVEMBER)
    named = {line.what: line.amount_nusd for line in november.lines if line.section == "correction"}
    stem = f"{row.request_id}/{row.attempt}"
    assert named == {f"reversal:{stem}/0": -row.cost_nusd, f"{stem}/1": 5_000, "req_late/0/0": 777}
    assert all(
        "2026-10" in line.note or "bill" in line.note
        for line in november.lines
        if line.section == "correction"
    )
    assert november.opening_nusd == october.closing_nusd


Named = dict[tuple[str, str], int]


def raw_difference(organisation: Any, month: datetime) -> Named:
    """(vendor's or machine's account, application) → calls booked in the month that it was made for, less the attempts of the
    month as they stand: from every single row."""
    sums: Named = defaultdict(int)
    account = expense_account("customer-service")
    in_month = {"organisation_id": organisation.pk, "at__gte": month, "at__lt": month_end(month)}
    for row in LedgerEntry.objects.filter(attempt__isnull=False, **in_month):
        if account in (row.debit, row.credit) and "late for " not in row.memo:
            charged = row.debit == account
            sums[row.credit if charged else row.debit, row.application] += row.amount_nusd * (
                1 if charged else -1
            )
    for attempt in Attempt.objects.filter(lob="customer-service", superseded=False, **in_month):
        other = credit_account(attempt.side, attempt.deployment, attempt.node)
        sums[other, attempt.application] -= attempt.cost_nusd
    return {names: nusd for names, nusd in sums.items() if nusd}


def late_label(organisation: Any, number: int, at: datetime) -> None:
    append(
        event_id=f"late-label:{number}", organisation_id=organisation.pk, debit=expense_account("customer-service"),
        credit="payable:labels", amount_nusd=1_000 + number, at=at, lob="customer-service", purpose="review",
        workload="support-intent",
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_corrected_when_statements_equal_the_ledger_and_say_where_the_work_is_another(
    organisation: Any, seed: int
):
    """Corrections of corrections, calls that nobody metered, late events and late labels, in open and in closed months."""
    dice = random.Random(seed)
    for step in range(12):
        if step == 6:
            close(organisation, OCTOBER)
        at = dice.choice([OCTOBER, NOVEMBER]) + timedelta(days=dice.randrange(20), minutes=step)
        with time_machine.travel(NOVEMBER + timedelta(days=22, minutes=step), tick=False):
            match dice.randrange(4):
                case 0:
                    rows = Attempt.objects.filter(lob="customer-service", superseded=False).order_by("pk")
                    correct_attempt(
                        attempt=dice.choice(list(rows)), cost_nusd=dice.randrange(3_000), tokens_in=7, tokens_out=3,
                        reason="the bill says so",
                    )  # fmt: skip
                case 1:
                    book_missing(
                        organisation_id=organisation.pk, request_id=f"req_bill_{step}", deployment="ext-mini",
                        model="txt-edge", tokens_in=9, tokens_out=1, cost_nusd=777 + step, at=at, reason="billed, not booked",
                        lob="customer-service",
                    )  # fmt: skip
                case 2:
                    item = make_attempt(cost_nusd=500 + step, usage_source="estimated")
                    asked = dice.choice(["desk", "bot"])
                    record_events(
                        [make_event(item, at=at, organisation_id=organisation.pk, application=asked)]
                    )
                case 3:
                    late_label(organisation, step, at)
    refresh(OCTOBER, NOVEMBER + timedelta(days=29))
    for month in (OCTOBER, NOVEMBER):
        made = of(organisation, month)
        assert made.total_nusd == ledger_nusd(organisation, month)
        apart: Named = defaultdict(int)
        for line in made.lines:
            if line.what.startswith("as charged"):
                apart[":".join(line.note.split(":")[:2]), line.application] += line.amount_nusd
        assert apart == raw_difference(organisation, month)
        assert not any(line.what.startswith("charged beyond") for line in made.lines)


def test_more_corrections_than_a_reader_wants_to_see_are_one_line_more(
    organisation: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(charges, "NAMED", 2)
    close(organisation, OCTOBER)
    with time_machine.travel(NOVEMBER + timedelta(days=20), tick=False):
        for i in range(5):
            late_label(organisation, i, OCTOBER + timedelta(days=i))
    made = of(organisation, NOVEMBER)
    found = [(line.what, line.amount_nusd) for line in made.lines if line.section == "correction"]
    assert found == [
        ("late-label:0", 1_000),
        ("late-label:1", 1_001),
        ("3 more corrections of earlier months", 3_009),
    ]
    assert not [line for line in made.lines if line.section == "labels"]
    assert made.total_nusd == ledger_nusd(organisation, NOVEMBER)


def test_a_statement_reads_no_attempts_and_of_the_ledger_what_partial_indexes_hold(organisation: Any):
    with CaptureQueriesContext(connection) as asked:
        of(organisation, OCTOBER, basis="showback")
    assert not [q for q in asked.captured_queries if "costs_attempt" in q["sql"]]
    raw = [q["sql"] for q in asked.captured_queries if "costs_ledgerentry" in q["sql"]]
    assert raw and all("late for " in sql or '"attempt" IS NULL' in sql for sql in raw)


def test_what_was_charged_under_another_name_stands_on_the_statement_too(organisation: Any):
    append(
        event_id="odd:1", organisation_id=organisation.pk, debit=expense_account("customer-service"), credit="payable:odd",
        amount_nusd=4_321, at=OCTOBER + timedelta(days=1), lob="",
    )  # fmt: skip
    made = of(organisation, OCTOBER)
    assert made.total_nusd == ledger_nusd(organisation, OCTOBER)
    assert [
        (line.section, line.amount_nusd) for line in made.lines if line.what.startswith("charged beyond")
    ] == [("other", 4_321)]


def test_showback_adds_the_share_of_the_machines_bill_and_the_idle_time_carried(organisation: Any):
    SpendHour.objects.filter(lob="customer-service", side="private", start__lt=NOVEMBER).update(
        variance_nusd=50
    )
    refresh_days(OCTOBER, NOVEMBER)
    hours = SpendHour.objects.filter(lob="customer-service", side="private", start__lt=NOVEMBER).count()
    for i, used in enumerate((3_000_000, 0)):
        NodeInterval.objects.create(
            organisation_id=organisation.pk, node="node-cpu-1", start=OCTOBER + timedelta(days=3, hours=i), bill_nusd=500,
            used_nusd=0, idle_nusd=500, accelerator_ns=used, idle_shares={"customer-service": 30, "legal": 70},
        )  # fmt: skip
    charge, show = of(organisation, OCTOBER), of(organisation, OCTOBER, basis="showback")
    added = {line.what: line.amount_nusd for line in show.lines if line.section == "loaded"}
    assert added == {
        "node-cpu-1: share of its bill less the standard rate": hours * 50 - 30, "node-cpu-1: idle time carried": 60,
    }  # fmt: skip
    assert show.total_nusd == charge.total_nusd + hours * 50 + 30


def test_a_basis_that_does_not_exist_is_refused(organisation: Any):
    with pytest.raises(ValueError, match="chargeback or showback"):
        of(organisation, OCTOBER, basis="cash")
