"""Labels are money: a line each, once, within the labelling budget."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from costs import budgets, label_hours, ledger
from costs.books import fiscal
from costs.books.verification import verify_books
from costs.labels import Labelled, charge, charge_what_fits, set_label_price
from costs.models import Alert, FiscalPeriod, LabelHour, LedgerEntry
from costs.periods import period_bounds
from costs.reports.lifetime import Span, label_rows
from costs.selectors import limit_of
from modelhub.models import Dataset
from modelhub.services.datasets import upload
from routing.models import Feedback, Interception
from routing.services import records
from routing.services.labels import charge_feedback
from routing.services.reviews import review
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import BudgetExhausted, InvalidRequest
from switchyard.core.money import usd_to_nusd
from switchyard.gateway.consumer import Consumer
from switchyard.tenancy.models import ConfigVersion
from switchyard.tenancy.querysets import Scope
from tests import factories as make

pytestmark = pytest.mark.django_db
PRICE = usd_to_nusd("12.50")


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def legal() -> Any:
    return make.make_lob(slug="legal", label_price_nusd=PRICE)


@pytest.fixture
def work(legal: Any) -> Any:
    return make.make_workload(legal, "triage")


def rows_file(count: int, first: int = 0) -> bytes:
    lines = [
        json.dumps({"text": f"clause number {n}", "label": ("assignment", "term")[n % 2]})
        for n in range(first, first + count)
    ]
    return "\n".join(lines).encode()


def lines_of(**names: Any) -> list[LedgerEntry]:
    return list(LedgerEntry.objects.filter(**names).order_by("pk"))


def feedback(lob: Any, number: int, **changes: Any) -> dict[str, Any]:
    at_ns = int(now().timestamp() * 1e9)
    return {
        "kind": "feedback", "event_id": f"fb:dec_{number}:0:x", "decision_id": f"dec_{number}", "index": 0, "correct": True,
        "score": None, "at_ns": at_ns, "answered_at_ns": at_ns, "organisation_id": lob.organisation_id, "lob": lob.slug,
        "application": "desk", "workload": "triage", "deployment": "d", "model": "m", "side": "private", "origin": "live",
    } | changes  # fmt: skip


# --- labelled rows -------------------------------------------------------------------------------------------------


def test_each_row_of_an_upload_is_a_line_of_the_ledger_at_the_price_of_a_label(work: Any):
    dataset = upload(workload=work, name="rows.jsonl", content=rows_file(10), user=None)
    lines = lines_of()
    assert len(lines) == 10
    assert {(e.debit, e.credit, e.amount_nusd, e.purpose, e.lob, e.workload, e.origin) for e in lines} == {
        ("expense:lob:legal", "payable:labels", PRICE, "label", "legal", "triage", "live")
    }
    assert (
        lines[2].memo == f"row 3 of data set {dataset.digest[:12]}"
        and lines[2].price_version == "label:legal@12.50"
    )
    assert (dataset.report["labels_charged"], dataset.report["labels_usd"]) == (10, "125.00")
    assert ledger.trial_balance(work.organisation_id) == 0
    assert ledger.expense_nusd(LedgerEntry.objects.all()) == 10 * PRICE


def test_the_same_file_again_charges_nothing_and_a_longer_one_only_its_new_rows(work: Any):
    upload(workload=work, name="rows.jsonl", content=rows_file(10), user=None)
    again = upload(workload=work, name="again.jsonl", content=rows_file(10), user=None)
    longer = upload(workload=work, name="longer.jsonl", content=rows_file(13), user=None)
    assert (again.report["labels_charged"], longer.report["labels_charged"]) == (0, 3)
    assert LedgerEntry.objects.count() == 13


def test_the_same_text_for_other_work_or_with_another_label_is_another_label(work: Any, legal: Any):
    other = make.make_workload(legal, "triage-2")
    for workload in (work, other):
        upload(workload=workload, name="rows.jsonl", content=rows_file(10), user=None)
    upload(
        workload=work, name="rows.jsonl", content=rows_file(10).replace(b'"term"', b'"duration"'), user=None
    )
    assert LedgerEntry.objects.count() == 10 + 10 + 5


def test_rows_that_were_left_out_cost_nothing(work: Any):
    content = rows_file(10) + b"\n" + rows_file(4)  # four are there twice
    assert upload(workload=work, name="rows.jsonl", content=content, user=None).report["labels_charged"] == 10


def test_labels_without_a_price_are_kept_and_not_booked():
    work = make.make_workload(make.make_lob(slug="plant"), "triage")
    dataset = upload(workload=work, name="rows.jsonl", content=rows_file(10), user=None)
    assert dataset.report["labels_usd"] == "0.00" and not LedgerEntry.objects.exists()


def test_an_upload_over_the_labelling_budget_is_refused_whole(work: Any, media: Path):
    make.make_budget(work.organisation, "lob:legal", "125.00", covers="labels")
    with pytest.raises(BudgetExhausted, match=r"budget on lob:legal .* these labels may cost up to \$137.50"):
        upload(workload=work, name="rows.jsonl", content=rows_file(11), user=None)
    assert (
        not Dataset.objects.exists() and not LedgerEntry.objects.exists() and not AuditEvent.objects.exists()
    )
    assert list(media.rglob("*.jsonl")) == [], "what is refused leaves no file behind"
    upload(workload=work, name="rows.jsonl", content=rows_file(10), user=None)  # to the cent
    with pytest.raises(BudgetExhausted):
        upload(workload=work, name="rows.jsonl", content=rows_file(11), user=None)
    assert LedgerEntry.objects.count() == 10


def test_a_neighbours_budget_and_labels_are_their_own(work: Any):
    neighbour = make.make_lob(work.organisation, "healthcare", label_price_nusd=PRICE)
    make.make_budget(work.organisation, "lob:healthcare", "1.00", covers="labels")
    upload(workload=work, name="rows.jsonl", content=rows_file(10), user=None)
    assert {e.lob for e in lines_of()} == {"legal"}
    with pytest.raises(BudgetExhausted):
        upload(
            workload=make.make_workload(neighbour, "notes"), name="r.jsonl", content=rows_file(10), user=None
        )


# --- reviews -------------------------------------------------------------------------------------------------------


@pytest.fixture
def caught(legal: Any) -> Interception:
    return Interception.objects.create(
        decision_id="dec_1", organisation_id=legal.organisation_id, lob="legal", workload="triage", at=now(), kind="risk",
        score=0.8, threshold=0.7, mode="observe", withheld=False, spans=[],
    )  # fmt: skip


def test_a_review_is_a_line_and_saying_the_same_again_is_not(caught: Interception):
    review(interception=caught, state="confirmed", user=None)
    review(interception=caught, state="confirmed", user=None)
    assert [(e.purpose, e.amount_nusd, e.memo) for e in lines_of()] == [
        ("review", PRICE, "review of dec_1: confirmed")
    ]
    review(interception=caught, state="released", user=None)  # another judgement is another piece of work
    assert len(lines_of()) == 2


def test_a_review_beyond_the_budget_is_refused_and_changes_nothing(caught: Interception, legal: Any):
    make.make_budget(legal.organisation, "lob:legal", "12.49", covers="labels")
    with pytest.raises(BudgetExhausted):
        review(interception=caught, state="confirmed", user=None)
    caught.refresh_from_db()
    assert caught.state == "open" and caught.reviewed_at is None
    assert not AuditEvent.objects.exists() and not lines_of()


# --- feedback ------------------------------------------------------------------------------------------------------


def test_accepted_feedback_is_booked_once_an_answer_and_a_score_is_no_label(work: Any, legal: Any):
    first = feedback(legal, 1)
    charge_feedback([first, feedback(legal, 1, event_id="again", correct=False), feedback(legal, 2)])
    charge_feedback([first, feedback(legal, 1, index=1), feedback(legal, 3, correct=None, score=0.4)])
    charge_feedback([{"kind": "usage"}])
    assert [(e.event_id, e.purpose, e.amount_nusd) for e in lines_of()] == [
        ("feedback:dec_1:0", "feedback", PRICE),
        ("feedback:dec_2:0", "feedback", PRICE),
        ("feedback:dec_1:1", "feedback", PRICE),
    ]


def test_the_ledger_process_books_the_feedback_it_records(work: Any, legal: Any, tmp_path: Path):
    consumer = Consumer("redis://127.0.0.1:1/0", home=tmp_path)
    events = [feedback(legal, n) for n in range(3)]
    consumer.record(events)
    consumer.record(events)
    assert Feedback.objects.count() == 3 and len(lines_of(purpose="feedback")) == 3


def test_feedback_beyond_the_budget_still_counts_but_is_not_booked_and_an_alert_says_so(legal: Any):
    make.make_budget(legal.organisation, "lob:legal", "30", covers="labels")  # two labels and a bit
    start = now() - timedelta(minutes=1)
    events = [
        feedback(legal, n, at_ns=int((start + timedelta(seconds=n)).timestamp() * 1e9)) for n in range(5)
    ]
    records.record_events(events)
    done = charge_feedback(events)
    assert (done.lines, done.amount_nusd, done.refused) == (2, 2 * PRICE, 3)
    assert [e.event_id for e in lines_of()] == ["feedback:dec_0:0", "feedback:dec_1:0"], "oldest first"
    assert Feedback.objects.count() == 5
    charge_feedback([feedback(legal, 9)])
    alert = Alert.objects.get()
    assert (alert.kind, alert.lob) == ("label_budget", "legal")
    assert "Feedback of legal is kept, but no longer booked as labels." in alert.message


@pytest.mark.parametrize("room", range(8))
def test_as_many_labels_are_booked_as_fit_and_not_one_more(legal: Any, room: int):
    make.make_budget(legal.organisation, "lob:legal", str(room * 12.5 + 1), covers="labels")
    assert charge_feedback([feedback(legal, n) for n in range(7)]).lines == min(room, 7)


def test_the_replayed_history_is_booked_as_demonstration_whatever_the_budget_says(legal: Any):
    make.make_budget(legal.organisation, "lob:legal", "12.50", covers="labels")
    charge_feedback([feedback(legal, n, origin="demonstration") for n in range(5)])
    assert {e.origin for e in lines_of()} == {"demonstration"} and len(lines_of()) == 5
    charge_feedback([feedback(legal, 6)])
    with pytest.raises(BudgetExhausted):
        charge([labelled(legal, "label:1")])
    assert len(lines_of(origin="live")) == 1


def test_a_chunk_of_the_history_is_charged_with_few_questions_to_the_database(
    legal: Any, django_assert_max_num_queries: Any
):
    events = [feedback(legal, n, origin="demonstration") for n in range(600)]
    with django_assert_max_num_queries(20):
        assert charge_feedback(events).lines == 600


def test_feedback_of_a_closed_month_is_booked_today_and_says_so(legal: Any):
    at = now() - timedelta(days=40)
    start = fiscal.month_start(at)
    FiscalPeriod.objects.create(
        organisation_id=legal.organisation_id, start=start, end=fiscal.month_end(start), state="closed"
    )
    charge_feedback([feedback(legal, 1, at_ns=int(at.timestamp() * 1e9))])
    line = LedgerEntry.objects.get()
    assert (
        line.at > now() - timedelta(minutes=1) and line.memo == f"late for {start:%Y-%m}: feedback on dec_1"
    )
    assert Alert.objects.get().kind == "late_event"


# --- what they share -----------------------------------------------------------------------------------------------


def labelled(lob: Any, event_id: str, **changes: Any) -> Labelled:
    values = {"workload": "triage", "purpose": "label", "at": now()} | changes
    return Labelled(event_id=event_id, organisation_id=lob.organisation_id, lob=lob.slug, **values)


def test_an_unknown_line_of_business_has_no_price_so_nothing_is_booked(legal: Any):
    legal.slug = "nobody"
    assert charge_what_fits([labelled(legal, "label:1")]).lines == 0


def test_a_charge_of_several_lines_of_business_is_all_or_nothing(legal: Any):
    other = make.make_lob(legal.organisation, "plant", label_price_nusd=PRICE)
    make.make_budget(legal.organisation, "lob:plant", "1", covers="labels")
    with pytest.raises(BudgetExhausted):
        charge([labelled(legal, "label:1"), labelled(other, "label:2")])
    assert not lines_of()


@pytest.mark.parametrize("price", [-1, 10**16])
def test_a_price_that_cannot_be_is_refused(legal: Any, price: int):
    with pytest.raises(InvalidRequest, match="A label costs from"):
        set_label_price(lob=legal, price_nusd=price, actor=None)
    legal.refresh_from_db()
    assert legal.label_price_nusd == PRICE


def test_a_new_price_is_audited_and_holds_for_what_comes(legal: Any, work: Any, capsys: Any):
    upload(workload=work, name="rows.jsonl", content=rows_file(8), user=None)
    call_command("label_price", "legal", "0.10")
    assert capsys.readouterr().out == "legal\t$0.10\n"
    upload(workload=work, name="rows.jsonl", content=rows_file(9), user=None)
    assert [e.amount_nusd for e in lines_of()] == [PRICE] * 8 + [100_000_000]
    event = AuditEvent.objects.get(action="lob.changed")
    assert event.detail == {"label_usd": ["12.50", "0.10"]} and ConfigVersion.objects.exists()


@pytest.mark.parametrize("words", [("nobody",), ("legal", "-1"), ("legal", "much"), ("legal", "NaN")])
def test_the_command_refuses_what_it_cannot_read(legal: Any, words: tuple[str, ...]):
    with pytest.raises(CommandError):
        call_command("label_price", *words)


def kept(legal: Any) -> list[tuple[Any, ...]]:
    rows = LabelHour.objects.filter(organisation_id=legal.organisation_id).order_by("start", "lob", "purpose")
    return list(rows.values_list("start", "lob", "workload", "purpose", "lines", "amount_nusd"))


def test_labels_are_summed_by_hour_as_they_are_booked_and_as_often_as_they_come(legal: Any):
    noon = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    charge([labelled(legal, f"label:{n}", at=noon + timedelta(minutes=n)) for n in range(50)])
    charge([labelled(legal, f"label:{n}", at=noon + timedelta(minutes=n)) for n in range(55)])
    charge([labelled(legal, "review:1", purpose="review", at=noon + timedelta(hours=1))])
    assert kept(legal) == [
        (noon, "legal", "triage", "label", 55, 55 * PRICE),
        (noon + timedelta(hours=1), "legal", "triage", "review", 1, PRICE),
    ]
    ledger.reverse(LedgerEntry.objects.get(event_id="label:3"), memo="labelled wrongly")
    ledger.reverse(LedgerEntry.objects.get(event_id="label:3"), memo="told twice")
    assert kept(legal)[0][-2:] == (54, 54 * PRICE)
    assert label_hours.verify(legal.organisation_id) == []


def test_the_roll_up_of_labels_is_what_the_ledger_says_or_verifying_says_so(legal: Any):
    charge([labelled(legal, f"label:{n}", at=now() - timedelta(hours=n)) for n in range(30)])
    charge(
        [labelled(legal, f"old:{n}", at=now() - timedelta(hours=n), origin="demonstration") for n in range(3)]
    )
    before = kept(legal)
    LabelHour.objects.filter(purpose="label").update(amount_nusd=1)
    assert "hours of labels differ" in label_hours.verify(legal.organisation_id)[0]
    assert "hours of labels differ" in " ".join(verify_books(legal.organisation_id))
    label_hours.rebuild(legal.organisation_id)
    assert kept(legal) == before and label_hours.verify(legal.organisation_id) == []


def test_sums_of_labels_read_no_line_of_the_ledger(legal: Any):
    charge([labelled(legal, f"label:{n}") for n in range(50)])
    scope = Scope(legal.organisation_id, None, None, frozenset({"finance"}))
    with CaptureQueriesContext(connection) as asked:
        rows = list(label_rows(scope, Span.of(now() - timedelta(days=30), now()), None))
        month = limit_of(make.make_budget(legal.organisation, "lob:legal", "900", covers="labels"))
        start, end = period_bounds("month", "UTC", now())
        assert budgets.spent_in_ledger(month, start, end) == 50 * PRICE
    assert [row["nusd"] for row in rows] == [50 * PRICE]
    assert [q["sql"] for q in asked if "ledgerentry" in q["sql"].lower() and "WHERE" in q["sql"]] == []
