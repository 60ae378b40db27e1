"""Attempts and the ledger: exactly once, balanced, append-only in the database itself."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from costs import ledger, triggers
from costs.books.verification import verify_books
from costs.contracts import NodeRate
from costs.metering import record_events, record_job_cost
from costs.models import Alert, Attempt, LedgerEntry
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def append_only(db):
    triggers.install(connection)


def test_each_attempt_is_a_row_and_a_transfer_to_whom_it_is_owed():
    event = make_event(make_attempt(), private_attempt(), other_side_cost_nusd=1_500)
    record_events([event])
    first, second = Attempt.objects.order_by("attempt")
    assert (first.answered, first.answers, first.other_side_cost_nusd) == (False, 0, None)
    assert (second.answered, second.answers, second.other_side_cost_nusd) == (True, 1, 1_500)
    rows = LedgerEntry.objects.order_by("attempt").values_list("debit", "credit", "amount_nusd", "at")
    assert list(rows) == [
        ("expense:lob:customer-service", "payable:ext-mini", 1_400, NOON),
        ("expense:lob:customer-service", "absorbed:node-cpu-1", 900, NOON),
    ]


def test_events_told_again_are_counted_once():
    events = [make_event() for _ in range(5)]
    record_events(events)
    record_events(events[2:] + events + [make_event()])
    assert Attempt.objects.count() == LedgerEntry.objects.count() == 6
    assert verify_books(1) == []


def test_a_call_that_cost_nothing_is_metered_and_not_booked():
    record_events([make_event(make_attempt(cost_nusd=0, status="error"), make_attempt(deployment="ext-2"))])
    assert Attempt.objects.count() == 2 and LedgerEntry.objects.count() == 1
    assert verify_books(1) == []


def test_a_request_that_was_refused_leaves_no_money():
    done = record_events([make_event(attempts=[], deployment="", side="", status=429)])
    assert (done.events, done.attempts, done.rejected) == (1, 0, [])


def test_an_unreadable_event_is_alerted_and_does_not_hold_up_the_others():
    broken = make_event(make_attempt(cost_nusd=-5))
    done = record_events(
        [broken, {"kind": "feedback"}, make_event(), {"kind": "usage", "event_id": "x", "attempts": [{}]}]
    )
    assert done.rejected == [broken["event_id"], "x"]
    assert Attempt.objects.count() == 1
    assert Alert.objects.filter(kind="event_rejected").count() == 2


def test_the_database_refuses_to_change_or_remove_an_entry():
    record_events([make_event()])
    entry = LedgerEntry.objects.get()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LedgerEntry.objects.filter(pk=entry.pk).update(amount_nusd=1)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        entry.delete()
    assert LedgerEntry.objects.get().amount_nusd == 1_400


def test_the_database_refuses_to_put_another_entry_in_ones_place():
    """SQLite's REPLACE removes the row that is in its way without asking triggers, unless it is told to."""
    record_events([make_event()])
    names = [field.column for field in LedgerEntry._meta.concrete_fields]
    taken = ", ".join("1" if name == "amount_nusd" else name for name in names)
    put = "INSERT OR REPLACE INTO" if connection.vendor == "sqlite" else "INSERT INTO"
    over = "" if connection.vendor == "sqlite" else "ON CONFLICT (event_id) DO UPDATE SET amount_nusd = 1"
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            f"{put} costs_ledgerentry ({', '.join(names)}) SELECT {taken} FROM costs_ledgerentry {over}"
        )
    assert LedgerEntry.objects.get().amount_nusd == 1_400 and verify_books(1) == []


@pytest.mark.parametrize(
    "wrong", [{"amount_nusd": 0}, {"amount_nusd": -5}, {"credit": "a"}, {"event_id": "known"}]
)
def test_the_database_itself_refuses_what_is_no_transfer(wrong):
    fields = {
        "event_id": "known",
        "organisation_id": 1,
        "at": NOON,
        "debit": "a",
        "credit": "b",
        "amount_nusd": 7,
    }
    LedgerEntry.objects.create(**fields)
    with pytest.raises(IntegrityError), transaction.atomic():
        LedgerEntry.objects.bulk_create([LedgerEntry(**fields | {"event_id": "new"} | wrong)])
    assert LedgerEntry.objects.count() == 1


def test_demonstration_entries_can_be_removed_but_not_changed():
    record_events([make_event(origin="demonstration"), make_event()])
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LedgerEntry.objects.filter(origin="demonstration").update(amount_nusd=1)
    LedgerEntry.objects.filter(origin="demonstration").delete()
    assert LedgerEntry.objects.get().origin == "live"


def test_a_reversal_undoes_an_entry_once_and_the_trial_balance_stays_zero():
    record_events([make_event(), make_event(private_attempt())])
    entry = LedgerEntry.objects.get(credit="payable:ext-mini")
    undone = ledger.reverse(entry, memo="vendor credited it")
    assert ledger.reverse(entry, memo="again").pk == undone.pk
    assert (undone.debit, undone.credit) == (entry.credit, entry.debit)
    assert ledger.trial_balance(1) == 0
    assert ledger.expense_nusd(LedgerEntry.objects.all()) == 900
    assert ledger.balances(LedgerEntry.objects.all())["payable:ext-mini"] == (1_400, 1_400)
    assert verify_books(1) == [
        "2 attempts cost 2300 nano-dollars, but 1 entries book 900."
    ]  # its attempt still stands


def test_a_transfer_takes_a_positive_amount_and_two_accounts():
    common = {"organisation_id": 1, "at": NOON}
    with pytest.raises(ValueError, match="positive"):
        ledger.append(event_id="a", debit="x", credit="y", amount_nusd=0, **common)
    with pytest.raises(ValueError, match="two accounts"):
        ledger.append(event_id="b", debit="x", credit="x", amount_nusd=1, **common)


def test_the_books_say_so_when_an_attempt_was_not_booked_or_the_triggers_are_gone():
    record_events([make_event()])
    Attempt.objects.create(
        request_id="req_x", organisation_id=1, at=NOON, lob="legal", deployment="d", side="private", model="m",
        price_version="p", cost_nusd=5,
    )  # fmt: skip
    triggers.remove(connection)
    findings = verify_books(1)
    assert len(findings) == 2
    assert "2 attempts cost 1405" in findings[0] and "1 entries book 1400" in findings[0]
    assert "append-only" in findings[1]


def test_parts_that_do_not_sum_to_their_cost_are_found():
    record_events([make_event(make_attempt(cost_nusd=1_400, legs={"input": 400, "output": 1_000}))])
    assert verify_books(1) == []
    Attempt.objects.update(input_nusd=401)
    assert verify_books(1) == ["1 attempts have parts that do not sum to their cost."]
    Attempt.objects.update(input_nusd=0, output_nusd=0)
    assert verify_books(1) == [], "metered before costs were kept by their parts"


def test_work_booked_for_another_line_of_business_is_found_though_the_sums_agree():
    record_events([make_event(lob="legal"), make_event(lob="healthcare"), make_event(lob="engineering")])
    assert verify_books(1) == []
    Attempt.objects.filter(lob="legal").update(lob="healthcare")
    assert verify_books(1) == ["Attempts and entries of healthcare, legal differ, though their sums agree."]


def test_a_jobs_time_is_charged_to_its_line_of_business_once():
    rate = NodeRate("node:1@x", "node-cpu-1", 50_000_000)
    job = {
        "job_id": "job_1", "kind": "fine_tune", "organisation_id": 1, "lob": "legal", "rate": rate,
        "accelerator_ns": 72_000_000_000, "at": NOON, "memo": "fine-tune of contract-clauses",
    }  # fmt: skip
    assert record_job_cost(**job) == record_job_cost(**job) == 1_000_000
    entry = LedgerEntry.objects.get()
    assert (entry.debit, entry.credit, entry.job_id) == ("expense:lob:legal", "absorbed:node-cpu-1", "job_1")
    assert (entry.at, Attempt.objects.get().at, entry.memo) == (NOON, NOON, "fine-tune of contract-clauses")
    assert LedgerEntry.objects.filter(at=NOON).exists(), "as every other row is written"
    assert verify_books(1) == []
