"""A bill of another period, an empty or a partial one corrects nothing that it doesn't speak of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import Alert, Attempt, BillCheck, LedgerEntry
from costs.reconciliation import service
from costs.reconciliation.service import NothingBilled, reconcile_usage
from costs.tasks.reconciliation import reconcile_bills
from switchyard.core.money import format_usd
from tests import factories
from tests.costs.events import make_attempt, make_event

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 1, tzinfo=UTC)
DAYS = 10
END = START + timedelta(days=DAYS)
HEADER = "request_id,at,model,tokens_in,tokens_out,cost_usd\n"
COST = 20 * 50 + 2 * 400


@pytest.fixture
def organisation() -> Any:
    organisation = factories.make_organisation()
    factories.make_lob(organisation, "legal")
    factories.make_deployment(organisation, "ext-mini")
    return organisation


def line_of(request_id: str, at: datetime) -> dict[str, Any]:
    return {"request_id": request_id, "at": at.isoformat(), "model": "txt-edge", "tokens_in": 20, "tokens_out": 2,
            "cost_usd": format_usd(COST)}  # fmt: skip


def book(organisation: Any, first: datetime, days: int = DAYS) -> list[dict[str, Any]]:
    """Two calls a day, booked; their lines as a vendor would bill them."""
    price = f"price:{organisation.prices.get().pk}"
    lines, events = [], []
    for i in range(2 * days):
        told = make_attempt(tokens_in=20, tokens_out=2, cost_nusd=COST, price_version=price, model="txt-edge")
        event = make_event(
            told, at=first + timedelta(hours=12 * i + 3), lob="legal", organisation_id=organisation.pk
        )
        events.append(event)
        lines.append(line_of(event["request_id"], first + timedelta(hours=12 * i + 3)))
    record_events(events)
    return lines


def check(organisation: Any, text: str, **more: Any) -> BillCheck:
    return reconcile_usage(
        organisation_id=organisation.pk, deployment="ext-mini", start=START, end=END, text=text, **more
    )  # fmt: skip


def books() -> tuple[Any, ...]:
    attempts = Attempt.objects.order_by("pk").values_list("pk", "cost_nusd", "tokens_in", "superseded")
    return list(attempts), LedgerEntry.objects.count(), BillCheck.objects.count()


@pytest.mark.parametrize("correct", ["none", "estimates", "all"])
def test_octobers_bill_for_november_is_refused_and_nothing_changes(organisation: Any, correct: Any):
    book(organisation, START)
    before = books()
    october = [line_of(f"req_october_{i}", datetime(2026, 10, 1 + i, 9, tzinfo=UTC)) for i in range(20)]
    with pytest.raises(NothingBilled, match="its 20 are of 2026-10-01 to 2026-10-20") as refused:
        check(organisation, json.dumps({"rows": october}), correct=correct)
    assert "at least one of 2026-11-01 00:00 to 2026-11-11 00:00 UTC" in refused.value.message
    assert f"{format_usd(20 * COST)} USD are booked" in refused.value.message
    assert books() == before


def test_another_months_bill_is_refused_even_where_nothing_is_booked(organisation: Any):
    with pytest.raises(NothingBilled, match="Name the period"):
        check(organisation, json.dumps({"rows": [line_of("req_x", START - timedelta(hours=2))]}))


@pytest.mark.parametrize("text", [HEADER, '{"rows": []}', '{"rows": [], "total_usd": "0"}'])
def test_an_empty_bill_is_refused_where_something_is_booked_and_agrees_where_nothing_is(
    organisation: Any, text: str
):
    row = check(organisation, text, correct="all")
    assert (row.rows, row.gap_nusd, row.findings, row.corrections) == (0, 0, [], 0)
    book(organisation, START)
    before = books()
    with pytest.raises(NothingBilled, match="no lines at all"):
        check(organisation, text, correct="all")
    assert books() == before


def test_a_partial_bill_corrects_the_days_it_speaks_of_and_no_others(organisation: Any):
    lines = book(organisation, START)
    before = {row.request_id: row.pk for row in Attempt.objects.all()}
    billed = [lines[0], *lines[2:6]]  # of days 1 to 3, without one call of day 1
    text = json.dumps({"rows": billed})
    row = check(organisation, text, correct="all")
    assert (row.corrections, row.gap_nusd, row.left_nusd) == (1, -15 * COST, -14 * COST)
    states = {f["day"]: (f["cause"], f["state"], f["rows"]) for f in row.findings}
    assert states["2026-11-01"] == ("unbilled", "corrected", 1)
    later = [f"2026-11-{day:02}" for day in range(4, 11)]
    assert {day: states[day] for day in later} == dict.fromkeys(later, ("unbilled", "open", 2)) and len(
        states
    ) == 8
    current = {a.request_id: a for a in Attempt.objects.filter(superseded=False)}
    assert current[lines[1]["request_id"]].cost_nusd == 0
    for line in lines[6:]:
        attempt = current[line["request_id"]]
        assert (attempt.pk, attempt.cost_nusd) == (before[line["request_id"]], COST)
    after = books()
    assert check(organisation, text, correct="all").pk == row.pk and books() == after
    assert verify_books(organisation.pk) == []


def test_the_check_tells_how_many_lines_lie_outside_of_the_period(organisation: Any):
    lines = book(organisation, START)
    text = json.dumps({"rows": lines}, indent=0)
    assert check(organisation, text, source="november.json").source == "november.json"
    others = [line_of(f"req_{i}", END + timedelta(days=i)) for i in range(3)]
    row = check(organisation, json.dumps({"rows": [*lines, *others]}), source="n" * 300, correct="all")
    assert row.source.endswith("; 3 lines outside of the period") and len(row.source) <= 200
    assert (row.rows, row.gap_nusd, row.corrections) == (20, 0, 0)


@pytest.fixture
def vendors_bill(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What the vendor's server answers, whatever it is asked."""
    rows: list[dict[str, Any]] = []
    monkeypatch.setattr(service, "fetch_bill", lambda **asked: json.dumps({"rows": rows}))
    yield rows


def test_a_fetched_bill_with_lines_of_the_neighbouring_days_alone_agrees_with_a_quiet_day(
    organisation: Any, vendors_bill: list[dict[str, Any]]
):
    vendors_bill += [line_of("req_before", START - timedelta(hours=2)), line_of("req_after", END)]
    ask = {"organisation_id": organisation.pk, "deployment": "ext-mini", "start": START, "end": END}
    assert reconcile_usage(**ask).findings == []
    vendors_bill.append(line_of("req_long_before", START - timedelta(days=9)))
    with pytest.raises(NothingBilled):
        reconcile_usage(**ask)


def test_the_schedule_alerts_a_person_when_the_days_bill_is_empty_though_calls_are_booked(
    organisation: Any, vendors_bill: list[dict[str, Any]]
):
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    book(organisation, today - timedelta(days=1), 1)
    before = books()
    assert reconcile_bills() == 0 and books() == before
    alert = Alert.objects.get(kind="bill_gap")
    assert alert.subject == "ext-mini" and "no lines at all" in alert.message
