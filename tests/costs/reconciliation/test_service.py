"""A bill against the books: planted gaps found by day, model, line of business and cause; ours corrected, theirs claimed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from costs.books.corrections import correct_attempt
from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import Attempt, BillCheck, ExchangeRate, LedgerEntry, NodeInterval, SpendHour
from costs.reconciliation.bills import BillRefused
from costs.reconciliation.service import NothingBilled, checks_of, reconcile_node, reconcile_usage
from costs.rollups import refresh
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.core.money import format_usd
from switchyard.tenancy.querysets import Scope, scope_of
from tests import factories
from tests.costs.events import make_attempt, make_event

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 3, tzinfo=UTC)
END = START + timedelta(days=2)
COUNT = 100


@pytest.fixture
def organisation() -> Any:
    organisation = factories.make_organisation()
    for slug in ("customer-service", "legal"):
        factories.make_workload(factories.make_lob(organisation, slug), f"{slug}-work")
    factories.make_deployment(organisation, "ext-mini")
    return organisation


def worth(tokens_in: int, tokens_out: int) -> int:
    return tokens_in * 50 + tokens_out * 400


def calls(organisation: Any, count: int = COUNT, **attempt: Any) -> list[dict[str, Any]]:
    """Events of so many calls over two days and two lines of business, recorded, as bill lines."""
    price = f"price:{organisation.prices.get().pk}"
    events, lines = [], []
    for i in range(count):
        at, lob = START + timedelta(minutes=25 * i), ("customer-service", "legal")[i % 2]
        tokens_in, tokens_out = 20 + i % 9, 1 + i % 3
        told = make_attempt(
            tokens_in=tokens_in, tokens_out=tokens_out, cost_nusd=worth(tokens_in, tokens_out), price_version=price,
            model=f"txt-edge/{lob}-work", **attempt,
        )  # fmt: skip
        event = make_event(told, at=at, lob=lob, organisation_id=organisation.pk)
        events.append(event)
        lines.append({
            "request_id": event["request_id"], "at": at.isoformat(), "model": told["model"], "tokens_in": tokens_in,
            "tokens_out": tokens_out, "cost_usd": format_usd(told["cost_nusd"]),
        })  # fmt: skip
    record_events(events)
    refresh(START, END)
    return lines


def check(organisation: Any, lines: list[dict[str, Any]], **more: Any) -> BillCheck:
    return reconcile_usage(
        organisation_id=organisation.pk, deployment="ext-mini", start=START, end=END, text=json.dumps({"rows": lines}), **more
    )  # fmt: skip


def found(row: BillCheck) -> list[tuple[str, str, str, str, str]]:
    return sorted((f["day"], f["model"], f["lob"], f["cause"], f["state"]) for f in row.findings)


def test_a_bill_that_agrees_leaves_no_gap_and_is_recognised_when_it_comes_again(organisation: Any):
    lines = calls(organisation)
    first = check(organisation, lines)
    assert (first.gap_nusd, first.left_nusd, first.findings, first.rows) == (0, 0, [], COUNT)
    assert check(organisation, lines).pk == first.pk
    assert AuditEvent.objects.filter(action="bill.checked").count() == 1


def test_a_planted_gap_of_three_per_cent_is_found_row_by_row(organisation: Any):
    """Three rows that nobody booked, one billed twice, one dearer, one with more output: each named, none invented."""
    lines = calls(organisation)
    for line in lines[:3]:
        line |= {"request_id": f"unknown-{line['request_id']}"}
    lines.append(dict(lines[10]))
    lines[20]["cost_usd"] = format_usd(worth(lines[20]["tokens_in"], lines[20]["tokens_out"]) * 103 // 100)
    lines[31] |= {"tokens_out": 9, "cost_usd": format_usd(worth(lines[31]["tokens_in"], 9))}
    row = check(organisation, lines)
    service, legal, day = "customer-service", "legal", "2026-11-03"
    s, g = "txt-edge/customer-service-work", "txt-edge/legal-work"
    assert found(row) == sorted([
        (day, s, service, "missing", "open"), (day, g, legal, "missing", "open"), (day, s, service, "unbilled", "open"),
        (day, g, legal, "unbilled", "open"), (day, s, service, "billed_twice", "claim"), (day, s, service, "price", "claim"),
        (day, g, legal, "tokens", "open"),
    ])  # fmt: skip
    assert sum(f["gap_nusd"] for f in row.findings) == row.gap_nusd == row.billed_nusd - row.booked_nusd
    tokens = next(f for f in row.findings if f["cause"] == "tokens")
    assert tokens["detail"] == "output" and tokens["samples"] == [lines[31]["request_id"]]


def test_corrections_close_what_is_ours_leave_claims_open_and_are_made_once(organisation: Any):
    lines = calls(organisation)
    Attempt.objects.filter(request_id=lines[1]["request_id"]).update(usage_source="estimated")
    lines[1] |= {"tokens_out": 7, "cost_usd": format_usd(worth(lines[1]["tokens_in"], 7))}
    lines[2]["request_id"] = "req_nobody_booked"
    lines.append(dict(lines[10]))
    claim = worth(lines[10]["tokens_in"], lines[10]["tokens_out"])
    row = check(organisation, lines, correct="all", actor="erin")
    assert row.left_nusd == claim and row.corrections == 3
    assert {f["cause"]: f["state"] for f in row.findings} == {
        "estimated": "corrected", "missing": "corrected", "unbilled": "corrected", "billed_twice": "claim",
    }  # fmt: skip
    assert verify_books(organisation.pk) == []
    entries, attempts = LedgerEntry.objects.count(), Attempt.objects.count()
    again = check(organisation, lines, correct="all")
    assert again.pk == row.pk, "the same bill with nothing more to correct is the same check"
    assert (LedgerEntry.objects.count(), Attempt.objects.count()) == (entries, attempts)
    booked = Attempt.objects.get(request_id="req_nobody_booked")
    assert (booked.lob, booked.cost_nusd) == (
        "customer-service",
        worth(lines[2]["tokens_in"], lines[2]["tokens_out"]),
    )
    assert sum(SpendHour.objects.values_list("cost_nusd", flat=True)) == row.billed_nusd - claim
    memos = set(LedgerEntry.objects.filter(reverses__isnull=False).values_list("memo", flat=True))
    assert any("booked by estimate" in memo and row.digest[:12] in memo for memo in memos)


def test_only_estimates_are_corrected_when_asked_for_those_alone(organisation: Any):
    lines = calls(organisation, 10)
    Attempt.objects.filter(request_id=lines[1]["request_id"]).update(usage_source="estimated")
    lines[1] |= {"tokens_out": 7, "cost_usd": format_usd(worth(lines[1]["tokens_in"], 7))}
    row = check(organisation, [*lines[:4], *lines[5:]], correct="estimates")
    assert {f["cause"]: f["state"] for f in row.findings} == {"estimated": "corrected", "unbilled": "open"}


def test_what_is_too_young_waits_for_its_event(organisation: Any):
    lines = calls(organisation, 3)
    lines[0]["request_id"] = "req_under_way"
    row = check(organisation, lines, correct="all", settle=timedelta(days=100_000))
    assert row.corrections == 0 and row.left_nusd == row.gap_nusd


def test_a_call_at_midnight_belongs_to_the_day_it_was_billed_on(organisation: Any):
    lines = calls(organisation, 3)
    lines[2]["at"] = (END + timedelta(seconds=1)).isoformat()  # booked in the period, billed after it
    lines.append(dict(lines[0], request_id="req_long_ago", at=(START - timedelta(seconds=1)).isoformat()))
    assert check(organisation, lines).findings == []


def test_a_replayed_history_is_held_against_the_bill_of_the_day_it_was_replayed_on(organisation: Any):
    at = datetime.now(UTC)
    told = make_attempt(cost_nusd=1_400, upstream_id="history-a-1", price_version="price:x")
    events = [make_event(dict(told), at=at - timedelta(days=9), origin="demonstration", organisation_id=organisation.pk)
              for _ in range(2)]  # fmt: skip
    record_events(events)
    line = {"request_id": "history-a-1", "at": at.isoformat(), "model": "txt-edge", "tokens_in": 40, "tokens_out": 2,
            "cost_usd": "0.0000028"}  # fmt: skip
    ask, hour = {"organisation_id": organisation.pk, "deployment": "ext-mini"}, timedelta(hours=1)
    span = {"start": at - hour, "end": at + hour}
    assert reconcile_usage(**ask, **span, text=json.dumps({"rows": [line]})).gap_nusd == 0
    with pytest.raises(NothingBilled, match="no lines at all"):
        reconcile_usage(**ask, **span, text='{"rows": []}')
    past = {"start": at - timedelta(days=10), "end": at - timedelta(days=8)}
    assert reconcile_usage(**ask, **past, text='{"rows": []}').findings == []


def test_a_bill_in_the_wrong_currency_is_refused_in_one_clear_sentence(organisation: Any):
    text = "date,model,cost,currency\n2026-11-03,txt-edge,1,EUR\n"
    with pytest.raises(
        BillRefused, match="The bill is in EUR, but ext-mini's price sheet is in USD"
    ) as refused:
        reconcile_usage(
            organisation_id=organisation.pk, deployment="ext-mini", start=START, end=END, text=text
        )
    assert refused.value.code == "wrong_currency" and not BillCheck.objects.exists()


def test_a_bill_in_the_sheets_own_currency_is_converted_at_the_days_rate(organisation: Any):
    organisation.prices.update(currency="EUR")
    for day, rate in ((START - timedelta(days=9), 1_100_000_000), (START + timedelta(days=1), 1_200_000_000)):
        ExchangeRate.objects.create(
            organisation=organisation, currency="EUR", valid_from=day, nusd_per_unit=rate, source="x"
        )
    price = f"price:{organisation.prices.get().pk}"
    lines = []
    for i in range(2):  # booked at 1.1 both, though the second day's rate is 1.2
        at = START + timedelta(days=i, hours=3)
        told = make_attempt(tokens_in=20, tokens_out=1, cost_nusd=1_540, price_version=price)
        event = make_event(told, at=at, organisation_id=organisation.pk)
        record_events([event])
        lines.append(f"{event['request_id']},{at.isoformat()},txt-edge,20,1,0.0000014,EUR")
    text = "request_id,at,model,tokens_in,tokens_out,cost,currency\n" + "\n".join(lines)
    row = reconcile_usage(
        organisation_id=organisation.pk, deployment="ext-mini", start=START, end=END, text=text
    )
    assert (row.currency, row.billed_nusd, row.booked_nusd) == ("EUR", 1_540 + 1_680, 3_080)
    assert [(f["cause"], f["gap_nusd"]) for f in row.findings] == [("currency", 140)]


def test_what_is_not_an_external_deployment_with_a_price_is_refused(organisation: Any):
    factories.make_deployment(organisation, "home", "private")
    factories.make_deployment(organisation, "bare", bare=True, base_url="http://127.0.0.2:9/v1")
    ask = {"organisation_id": organisation.pk, "start": START, "end": END}
    with pytest.raises(NotFound):
        reconcile_usage(deployment="nobody", text="x", **ask)
    with pytest.raises(InvalidRequest, match="node's invoice"):
        reconcile_usage(deployment="home", text="x", **ask)
    with pytest.raises(BillRefused, match="no price sheet"):
        reconcile_usage(deployment="bare", text="date,model,cost_usd\n2026-11-03,m,1\n", **ask)
    with pytest.raises(InvalidRequest, match="ends after it begins"):
        reconcile_usage(deployment="ext-mini", text="x", **ask | {"end": START})


def test_a_server_that_may_not_be_called_is_not_asked_for_its_bill(organisation: Any, settings: Any):
    organisation.deployments.update(base_url="http://169.254.169.254/v1")
    with pytest.raises(InvalidRequest, match="metadata"):
        reconcile_usage(organisation_id=organisation.pk, deployment="ext-mini", start=START, end=END)
    settings.SWITCHYARD = settings.SWITCHYARD | {"UPSTREAM_CIDRS": []}
    organisation.deployments.update(base_url="http://127.0.0.1:9/v1")
    with pytest.raises(InvalidRequest, match="private address"):
        reconcile_usage(organisation_id=organisation.pk, deployment="ext-mini", start=START, end=END)


def test_bills_are_seen_by_finance_of_the_whole_organisation_alone(organisation: Any):
    check(organisation, calls(organisation, 2))
    service = organisation.lobs.get(slug="customer-service")
    people = {
        "alice": ("admin", (), 1), "erin": ("finance", (), 1), "bob": ("finance", (service,), 0), "vera": ("viewer", (), 0),
    }  # fmt: skip
    for name, (role, lobs, seen) in people.items():
        scope = scope_of(factories.make_user(name, organisation, role, lobs))
        assert checks_of(scope).count() == seen, name
    assert not checks_of(Scope(organisation.pk + 1, None, None, frozenset({"finance"}))).exists()


# ------------------------------------------------------------------------------------------------- machines
HEAD = "resource,start,end,hours,amount,currency\n"


@pytest.fixture
def hours(organisation: Any) -> Any:
    factories.make_node(organisation, "gpu-1")
    for i in range(48):
        NodeInterval.objects.create(
            organisation_id=organisation.pk, node="gpu-1", start=START + timedelta(hours=i), bill_nusd=2_000_000_000,
            used_nusd=0, idle_nusd=2_000_000_000,
        )  # fmt: skip
    return organisation


def invoice(organisation: Any, *lines: str) -> BillCheck:
    return reconcile_node(
        organisation_id=organisation.pk, node="gpu-1", start=START, end=END, text=HEAD + "\n".join(lines)
    )  # fmt: skip


def test_a_machines_invoice_that_agrees_has_no_gap_however_its_lines_are_cut(hours: Any):
    assert invoice(hours, "gpu-1,2026-11-03,2026-11-05,48,96.00,USD").findings == []
    assert (
        invoice(
            hours, "gpu-1,2026-11-03,2026-11-03T07:00,7,14,USD", "gpu-1,2026-11-03T07:00,2026-11-05,41,82,USD"
        ).gap_nusd
        == 0
    )


def test_missing_doubled_and_dearer_hours_are_found_by_day(hours: Any):
    row = invoice(
        hours,
        "gpu-1,2026-11-03,2026-11-04,24,50.40,USD",  # 2.10 instead of 2.00 an hour
        "gpu-1,2026-11-04,2026-11-05,20,40.00,USD",  # four hours short
        "gpu-1,2026-11-04T10:00,2026-11-04T12:00,2,4.00,USD",  # twice
        "gpu-9,2026-11-04,2026-11-05,24,99,USD",  # another machine's
    )
    assert [(f["day"], f["cause"], f["gap_nusd"], f["detail"]) for f in row.findings] == [
        ("2026-11-03", "rate", 2_400_000_000, "24 h"), ("2026-11-04", "hours_doubled", 4_000_000_000, "2 h"),
        ("2026-11-04", "hours_unbilled", -8_000_000_000, "4 h"),
    ]  # fmt: skip
    assert (row.billed_nusd, row.gap_nusd) == (94_400_000_000, -1_600_000_000)


def test_an_invoice_in_another_currency_or_of_other_machines_is_refused(hours: Any):
    with pytest.raises(BillRefused, match="The invoice is in EUR") as refused:
        invoice(hours, "gpu-1,2026-11-03,2026-11-05,48,96.00,EUR")
    assert refused.value.code == "wrong_currency"
    with pytest.raises(BillRefused, match="it names gpu-9"):
        invoice(hours, "gpu-9,2026-11-03,2026-11-05,48,96.00,USD")


def test_an_attempt_corrected_meanwhile_is_matched_by_its_newest_revision(organisation: Any):
    lines = calls(organisation, 4)
    attempt = Attempt.objects.get(request_id=lines[0]["request_id"])
    correct_attempt(
        attempt=attempt, cost_nusd=attempt.cost_nusd + 5, tokens_in=21, tokens_out=1, reason="by hand"
    )
    row = check(organisation, lines)
    assert row.gap_nusd == -5
