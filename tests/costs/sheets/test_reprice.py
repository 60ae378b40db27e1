"""Re-pricing is a preview: by roll-ups where the sheet is linear, call by call where it is not, and the books stay."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from costs import rollups
from costs.contracts import PriceSheet, PriceTier, Usage
from costs.metering import record_events
from costs.models import Attempt, LedgerEntry, Price
from costs.pricing import external_charge, external_cost
from costs.sheets import reprice as subject
from costs.sheets.reprice import draft, reprice, sheet_of_price
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.querysets import Scope
from tests import factories

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 8, 3, 12, tzinfo=UTC)
OLD = PriceSheet("old", input_nusd_per_munit=1_250_000_000, output_nusd_per_munit=10_000_000_000)
USAGES = [
    Usage(100_000, 1_000), Usage(250_000, 2_000, cached_tokens_in=150_000), Usage(7, 3, reasoning_tokens=2),
    Usage(300_000, 10, cache_write_tokens=100_000), Usage(1, 1),
]  # fmt: skip


def scope(organisation, *lobs):
    slugs = frozenset(lobs) or None
    return Scope(organisation.pk, None if slugs is None else frozenset({1}), slugs, frozenset({"viewer"}))


@pytest.fixture
def organisation():
    organisation = factories.make_organisation()
    events = []
    for number, used in enumerate(USAGES * 2):
        charge = external_charge(used, OLD)
        attempt = {
            "attempt": 0, "deployment": "ext-a", "side": "external", "model": "m", "cost_nusd": charge.cost_nusd,
            "legs": charge.legs, "tokens_in": used.tokens_in, "tokens_out": used.tokens_out,
            "cached_tokens_in": used.cached_tokens_in, "cache_write_tokens": used.cache_write_tokens,
            "reasoning_tokens": used.reasoning_tokens, "duration_ms": 2_000.0, "price_version": "old",
        }  # fmt: skip
        failed = attempt | {"attempt": 1, "status": "error", "cost_nusd": 0, "legs": {}, "tokens_in": 0, "tokens_out": 0,
                            "cached_tokens_in": 0, "cache_write_tokens": 0, "reasoning_tokens": 0}  # fmt: skip
        lob = "legal" if number % 2 else "sales"
        request = f"req_{number:04d}"
        events.append({
            "kind": "usage", "event_id": request, "request_id": request, "organisation_id": organisation.pk, "lob": lob,
            "at_ns": int((NOON + timedelta(minutes=number)).timestamp() * 1e9), "deployment": "ext-a", "answers": 1,
            "attempts": [failed | {"attempt": 0}, attempt | {"attempt": 1}],
        })  # fmt: skip
    record_events(events)
    rollups.refresh(NOON, NOON + timedelta(hours=1))
    return organisation


def asked(organisation, sheet, **more):
    values = {
        "scope": scope(organisation),
        "deployments": ["ext-a"],
        "start": NOON,
        "end": NOON + timedelta(hours=1),
    }
    return reprice(**values | {"sheet": sheet} | more)


def test_a_linear_sheet_is_applied_to_roll_ups_to_within_a_nano_dollar_a_call_and_leg(organisation):
    new = PriceSheet("new", 300_000_000, 30_000_000, 375_000_000, 2_500_000_000, 3_000_000_000)
    found = asked(organisation, new)
    exact = sum(external_cost(used, new) for used in USAGES * 2)
    assert found.method == "roll-ups"
    assert abs(found.total.repriced_nusd - exact) <= len(USAGES) * 2 * 5
    assert found.total.booked_nusd == sum(external_cost(used, OLD) for used in USAGES * 2)
    assert set(found.total.repriced) == {"input", "cached_input", "cache_write", "output", "reasoning"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"tiers": (PriceTier(200_000, 2_500_000_000, output_nusd_per_munit=15_000_000_000),)}, "tiers"),
        ({"minimum_nusd": 5_000_000}, "a minimum charge"), ({"call_nusd_per_munit": 10**12}, "a price per call"),
        ({"second_nusd_per_munit": 725_000_000_000}, "a price per second"), ({"batch_ppm": 500_000}, "a batch share"),
    ],
)  # fmt: skip
def test_what_depends_on_the_single_call_is_applied_call_by_call_and_exactly(organisation, changes, why):
    new = replace(OLD, **changes)
    found = asked(organisation, new)
    used = [replace(usage, duration_ns=2_000_000_000) for usage in USAGES * 2]
    assert (found.method, found.why) == ("calls", why)
    assert found.total.repriced_nusd == sum(external_cost(usage, new) for usage in used)
    assert found.total.calls == len(used), "a call that never answered is billed by nobody"


def test_tiers_move_only_the_calls_above_their_bound(organisation):
    new = replace(OLD, tiers=(PriceTier(200_000, 2_500_000_000, output_nusd_per_munit=15_000_000_000),))
    # By hand, twice each: 250,000 in at 1.25 more a million = $0.3125, 2,000 out at 5 more = $0.01;
    # 300,000 in = $0.375, 10 out = $0.00005.
    found = asked(organisation, new)
    assert found.total.repriced_nusd - found.total.booked_nusd == 2 * (
        312_500_000 + 10_000_000 + 375_000_000 + 50_000
    )


def test_the_same_sheet_again_differs_by_nothing_in_either_way(organisation):
    for sheet in (OLD, replace(OLD, minimum_nusd=1)):
        rows = asked(organisation, sheet).rows()
        assert [row["key"] for row in rows] == ["ext-a|legal", "ext-a|sales"]
        assert all(abs(row["difference_nusd"]) <= 5 for row in rows)


def test_parts_add_up_to_the_whole_by_deployment_line_of_business_and_class(organisation):
    found = asked(organisation, replace(OLD, minimum_nusd=5_000_000))
    for rows in (found.rows(), found.grouped(0), found.grouped(1), found.classes()):
        assert sum(row["repriced_nusd"] for row in rows) == found.total.repriced_nusd
        assert sum(row["booked_nusd"] for row in rows) == found.total.booked_nusd


def test_a_neighbour_sees_their_own_calls_and_no_others(organisation):
    found = asked(organisation, OLD, scope=scope(organisation, "legal"))
    assert {row["lob"] for row in found.rows()} == {"legal"}
    other = asked(organisation, OLD, scope=scope(factories.make_organisation()))
    assert other.rows() == []


def test_nothing_in_the_books_changes(organisation):
    before = list(Attempt.objects.values()), list(LedgerEntry.objects.values()), Price.objects.count()
    asked(organisation, replace(OLD, minimum_nusd=5_000_000))
    assert before == (
        list(Attempt.objects.values()),
        list(LedgerEntry.objects.values()),
        Price.objects.count(),
    )


def test_too_many_calls_are_refused_with_what_to_do(organisation, monkeypatch):
    monkeypatch.setattr(subject, "MOST_CALLS", 10)
    with pytest.raises(
        ValidationFailed, match="with tiers is applied call by call, and there are 20: ask for a shorter"
    ):
        asked(organisation, replace(OLD, tiers=(PriceTier(1, 1),)))


def test_a_kept_sheet_and_a_draft_of_the_same_terms_give_the_same(organisation):
    tiers = [{"above_tokens_in": 200_000, "output_nusd_per_munit": 15_000_000_000}]
    row = factories.make_price(organisation, "ext-b", batch_ppm=500_000, tiers=tiers)
    kept = sheet_of_price(row, NOON)
    terms = {
        "input_nusd_per_munit": 50_000_000,
        "output_nusd_per_munit": 400_000_000,
        "batch_ppm": 500_000,
        "tiers": tiers,
    }
    written = draft(terms, organisation_id=organisation.pk, at=NOON)
    assert replace(kept, version="draft", source="") == written
