"""Fiscal periods: when a month may be closed, what a closed one refuses, and what becomes of what comes late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction

from costs import ledger
from costs.books import fiscal
from costs.books.closing import close_period, ensure_periods, reopen_period
from costs.books.corrections import correct_attempt
from costs.books.verification import verify_books
from costs.books.writing import append_many
from costs.budgets.spending import STREAM
from costs.demonstration import remove_demonstration
from costs.metering import record_events
from costs.models import AccountHour, Alert, Attempt, FiscalPeriod, LedgerEntry, SpendHour
from costs.rollups import hour_of
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import Conflict, ValidationFailed
from tests.costs.events import make_event
from tests.factories import make_organisation

pytestmark = pytest.mark.django_db
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
IN_OCTOBER = datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC)
IN_NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def november(valkey, settings, tmp_path):
    settings.REDIS_URL, settings.HOME = valkey.url, tmp_path
    with time_machine.travel(IN_NOVEMBER, tick=False):
        yield


def closed() -> FiscalPeriod:
    return close_period(organisation_id=1, month=OCTOBER, actor="fiona")


def test_a_month_is_closed_with_what_stood_in_it_and_an_audit_event():
    record_events(
        [make_event(at=IN_OCTOBER), make_event(at=OCTOBER), make_event(at=OCTOBER - timedelta(seconds=1))]
    )
    period = closed()
    assert (period.state, period.entries, period.total_nusd) == ("closed", 2, 2_800)
    assert period.balances == {"expense:lob:customer-service": [2_800, 0], "payable:ext-mini": [0, 2_800]}
    assert AuditEvent.objects.get().action == "fiscal_period.closed"
    assert closed().events == period.events and AuditEvent.objects.count() == 1, (
        "closing twice changes nothing"
    )
    assert verify_books(1) == []


def test_a_month_that_is_not_over_stays_open():
    with pytest.raises(Conflict, match=r"2026-11 isn't over: it can be closed from 2026-12-01"):
        close_period(organisation_id=1, month=IN_NOVEMBER)
    with time_machine.travel(datetime(2026, 12, 1, tzinfo=UTC), tick=False):
        assert close_period(organisation_id=1, month=IN_NOVEMBER).state == "closed"


def test_a_month_whose_balance_is_not_zero_stays_open():
    record_events([make_event(at=IN_OCTOBER)])
    AccountHour.objects.filter(account="payable:ext-mini").update(credit_nusd=1)
    with pytest.raises(Conflict, match="trial balance of 2026-10 is 1399"):
        closed()


def test_a_month_waits_for_its_events_in_the_stream(valkey):
    event = make_event(at=IN_OCTOBER)
    valkey.client().xadd(STREAM, {"d": orjson.dumps(event)})
    with pytest.raises(Conflict, match=f"1 events of 2026-10 are still on their way.*{event['request_id']}"):
        closed()
    assert close_period(organisation_id=2, month=OCTOBER).state == "closed", "somebody else's don't matter"
    record_events([event])
    assert closed().entries == 1


def test_a_month_waits_for_its_events_in_a_spool(tmp_path):
    event = make_event(at=IN_OCTOBER)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "1-1-1.jsonl").write_bytes(orjson.dumps(event) + b"\n")
    with pytest.raises(Conflict, match="still on their way"):
        closed()


def test_a_month_is_not_closed_blindly_while_valkey_is_away(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(Conflict, match="can't be known"):
        closed()


def test_the_database_itself_refuses_a_row_dated_into_a_closed_month():
    record_events([make_event(at=IN_OCTOBER)])
    closed()
    row = LedgerEntry.objects.get()
    for at, refused in (
        (IN_OCTOBER, True),
        (OCTOBER, True),
        (OCTOBER - timedelta(microseconds=1), False),
        (fiscal.month_end(OCTOBER), False),
    ):
        entry = LedgerEntry(
            event_id=f"by hand {at}", organisation_id=1, at=at, debit="a", credit="b", amount_nusd=1
        )
        if refused:
            with pytest.raises(DatabaseError, match="fiscal period is closed"), transaction.atomic():
                entry.save()
            with pytest.raises(DatabaseError, match="fiscal period is closed"), transaction.atomic():
                LedgerEntry.objects.bulk_create([entry], ignore_conflicts=True)
        else:
            entry.save()
    LedgerEntry.objects.create(
        event_id="other", organisation_id=2, at=IN_OCTOBER, debit="a", credit="b", amount_nusd=1
    )
    assert LedgerEntry.objects.filter(pk=row.pk).exists()


def test_a_late_event_is_booked_today_once_with_a_memo_and_an_alert():
    closed()
    events = [make_event(at=IN_OCTOBER), make_event(at=IN_OCTOBER)]
    record_events(events)
    record_events(events)
    entries = LedgerEntry.objects.order_by("pk")
    assert [(e.at, e.memo) for e in entries] == [(IN_NOVEMBER, "late for 2026-10: 2026-10-31T23:59:59Z")] * 2
    assert [a.at for a in Attempt.objects.all()] == [IN_NOVEMBER] * 2
    assert list(SpendHour.objects.values_list("start", "requests")) == [(hour_of(IN_NOVEMBER), 2)]
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject) == ("late_event", "2026-10") and events[0][
        "request_id"
    ] in alert.message
    assert verify_books(1) == []


def test_corrections_of_a_closed_month_are_dated_today():
    record_events([make_event(at=IN_OCTOBER)])
    before = closed().balances
    entry = LedgerEntry.objects.get()
    fresh = correct_attempt(
        attempt=Attempt.objects.get(), cost_nusd=1_000, tokens_in=20, tokens_out=1, reason="bill"
    )
    assert fresh.at == IN_OCTOBER, "the call was made then"
    later = LedgerEntry.objects.exclude(pk=entry.pk).order_by("pk")
    assert [(e.at, e.amount_nusd, e.memo) for e in later] == [
        (IN_NOVEMBER, 1_400, "late for 2026-10: bill"),
        (IN_NOVEMBER, 1_000, "late for 2026-10: bill"),
    ]
    assert FiscalPeriod.objects.get().balances == before and verify_books(1) == []


def test_a_batch_of_transfers_goes_to_today_too():
    closed()
    append_many(
        [
            LedgerEntry(
                event_id="label:1",
                organisation_id=1,
                at=IN_OCTOBER,
                debit="a",
                credit="b",
                amount_nusd=3,
                memo="a label",
            )
        ]
    )
    entry = LedgerEntry.objects.get()
    assert (entry.at, entry.memo) == (IN_NOVEMBER, "late for 2026-10: a label")


def test_reopening_takes_a_reason_and_lets_transfers_in_again():
    record_events([make_event(at=IN_OCTOBER)])
    closed()
    with pytest.raises(ValidationFailed, match="Say why"):
        reopen_period(organisation_id=1, month=OCTOBER, reason="  ")
    period = reopen_period(organisation_id=1, month=OCTOBER, reason="credit note", actor="fiona")
    assert [(e["state"], e["by"], e["reason"]) for e in period.events] == [
        ("closed", "fiona", ""),
        ("open", "fiona", "credit note"),
    ]
    with pytest.raises(Conflict, match="open already"):
        reopen_period(organisation_id=1, month=OCTOBER, reason="again")
    record_events([make_event(at=IN_OCTOBER)])
    assert set(LedgerEntry.objects.values_list("at", flat=True)) == {IN_OCTOBER}
    assert closed().entries == 2 and AuditEvent.objects.count() == 3


def test_demonstration_rows_of_a_closed_month_stay_until_it_is_reopened():
    record_events([make_event(at=IN_OCTOBER, origin="demonstration")])
    closed()
    with pytest.raises(Conflict, match="reopen it first"):
        remove_demonstration(1)
    with pytest.raises(DatabaseError, match="fiscal period is closed"), transaction.atomic():
        LedgerEntry.objects.all().delete()
    reopen_period(organisation_id=1, month=OCTOBER, reason="clearing the demonstration")
    assert remove_demonstration(1)["ledger entries"] == 1
    assert not AccountHour.objects.exists()


def test_a_closed_month_that_moved_is_found():
    record_events([make_event(at=IN_OCTOBER)])
    closed()
    AccountHour.objects.filter(account="payable:ext-mini").update(account="payable:ext-maxi")
    assert "2026-10 is closed, but has moved since: payable:ext-maxi, payable:ext-mini." in verify_books(1)


def test_every_month_with_transfers_has_a_row():
    record_events([make_event(at=datetime(2026, 8, 9, tzinfo=UTC))])
    ensure_periods(1)
    ensure_periods(1)
    months = [f"{p.start:%Y-%m} {p.end:%Y-%m} {p.state}" for p in FiscalPeriod.objects.order_by("start")]
    assert months == [
        "2026-08 2026-09 open",
        "2026-09 2026-10 open",
        "2026-10 2026-11 open",
        "2026-11 2026-12 open",
    ]


def test_months_are_closed_and_reopened_by_command(capsys):
    organisation = make_organisation()
    ledger.append(
        event_id="x",
        organisation_id=organisation.pk,
        debit="a",
        credit="b",
        amount_nusd=2_000_000_000,
        at=IN_OCTOBER,
    )
    call_command("close_period", "2026-10")
    call_command("reopen_period", "2026-10", reason="a credit note")
    assert capsys.readouterr().out.splitlines() == [
        "2026-10 is closed: 1 transfers, $2.00.",
        "2026-10 is open.",
    ]
    for month, said in (("2026-13", "is not a month"), ("2026-11", "isn't over")):
        with pytest.raises(CommandError, match=said):
            call_command("close_period", month)
