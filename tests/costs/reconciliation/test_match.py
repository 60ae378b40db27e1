"""Every planted difference is found with its cause, and whatever is found sums to billed less booked, to the nano-dollar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costs.reconciliation.lines import CLAIMS, Billed, Booked
from costs.reconciliation.match import findings, match

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
IN, OUT = 50, 400  # nano-dollars a token


def worth(tokens_in: int, tokens_out: int) -> int:
    return tokens_in * IN + tokens_out * OUT


def reprice(row: Booked, tokens_in: int, tokens_out: int, cached_in: int) -> int | None:
    return worth(tokens_in, tokens_out) if row.price else None


def call(number: int, tokens_in: int = 20, tokens_out: int = 2, lob: str = "legal") -> tuple[Billed, Booked]:
    """A call as both sides have it."""
    at, key = NOON + timedelta(minutes=number), f"req_{number}"
    cost = worth(tokens_in, tokens_out)
    billed = Billed(at, "txt-edge", cost, key, tokens_in, tokens_out)
    return billed, Booked(number, key, key, at, "txt-edge", lob, cost, tokens_in, tokens_out, price="price:1")


def pairs(count: int) -> tuple[list[Billed], list[Booked]]:
    both = [call(i, tokens_in=20 + i % 7, lob=("legal", "customer-service")[i % 2]) for i in range(count)]
    return [b for b, _ in both], [k for _, k in both]


def causes(billed: list[Billed], booked: list[Booked]) -> list[tuple[str, str, int]]:
    return [
        (str(f["cause"]), str(f["lob"]), int(str(f["gap_nusd"])))
        for f in findings(match(billed, booked, reprice).gaps)
    ]


def test_what_agrees_leaves_nothing_to_say():
    assert causes(*pairs(40)) == []


def test_rows_dropped_from_the_books_are_missing_and_those_dropped_from_the_bill_unbilled():
    billed, booked = pairs(100)
    assert causes(billed, booked[3:]) == [("missing", "", sum(b.cost_nusd for b in billed[:3]))]
    found = causes(billed[1:], booked)
    assert found == [("unbilled", "legal", -billed[0].cost_nusd)]


def test_a_row_billed_twice_is_a_claim_and_one_booked_twice_is_ours_to_mend():
    billed, booked = pairs(10)
    assert causes([*billed, billed[4]], booked) == [("billed_twice", "legal", billed[4].cost_nusd)]
    again = replace(booked[4], ref=99)
    done = match(billed, [*booked, again], reprice)
    assert [(g.cause, g.nusd) for g in done.gaps] == [("booked_twice", -booked[4].cost_nusd)]
    assert [(f.ref, f.cost_nusd) for f in done.fixes] == [(99, 0)]


def test_another_price_for_the_same_tokens_is_a_claim_that_no_fix_is_proposed_for():
    billed, booked = pairs(3)
    billed[1] = replace(billed[1], cost_nusd=billed[1].cost_nusd + 500)
    done = match(billed, booked, reprice)
    assert [(g.cause, g.lob, g.nusd) for g in done.gaps] == [
        ("price", "customer-service", 500)
    ] and done.fixes == []


@pytest.mark.parametrize(
    ("tokens_in", "tokens_out", "classes"), [(25, 2, "input"), (20, 5, "output"), (21, 1, "input, output")]
)
def test_other_tokens_at_the_same_price_name_the_token_class(tokens_in: int, tokens_out: int, classes: str):
    line, row = call(0)
    line = replace(line, tokens_in=tokens_in, tokens_out=tokens_out, cost_nusd=worth(tokens_in, tokens_out))
    done = match([line], [row], reprice)
    assert [(g.cause, g.detail, g.nusd) for g in done.gaps] == [
        ("tokens", classes, line.cost_nusd - row.cost_nusd)
    ]
    assert [(f.tokens_in, f.tokens_out, f.cost_nusd) for f in done.fixes] == [
        (tokens_in, tokens_out, line.cost_nusd)
    ]


def test_other_tokens_at_another_price_are_two_gaps_of_which_one_is_a_claim():
    line, row = call(0)
    line = replace(line, tokens_in=30, cost_nusd=worth(30, 2) + 700)
    done = match([line], [row], reprice)
    assert {g.cause: g.nusd for g in done.gaps} == {"tokens": 10 * IN, "price": 700}
    assert [f.cost_nusd for f in done.fixes] == [worth(30, 2)]


def test_an_estimate_is_replaced_by_what_was_billed():
    line, row = call(0)
    done = match([line], [replace(row, cost_nusd=90, tokens_in=1, tokens_out=0, estimated=True)], reprice)
    assert [(g.cause, g.nusd) for g in done.gaps] == [("estimated", line.cost_nusd - 90)]
    assert [(f.ref, f.cost_nusd, f.tokens_in, f.tokens_out) for f in done.fixes] == [
        (0, line.cost_nusd, 20, 2)
    ]


def test_what_failed_here_but_was_answered_there_is_booked_on_its_own_attempt():
    line, row = call(0)
    done = match([line], [replace(row, cost_nusd=0, tokens_in=0, tokens_out=0)], reprice)
    assert [g.cause for g in done.gaps] == ["missing"] and done.fixes[0].ref == 0


def test_requests_that_shared_one_upstream_call_are_held_against_its_one_line():
    rows = [
        replace(call(i)[1], id="history-1", tokens_in=10 + i, cost_nusd=worth(10 + i, 2)) for i in range(5)
    ]
    line = Billed(
        NOON, "txt-edge", sum(r.cost_nusd for r in rows), "history-1", sum(r.tokens_in for r in rows), 10
    )
    assert match([line], rows, reprice).gaps == []
    rounded = match([replace(line, cost_nusd=line.cost_nusd - 2)], rows, reprice)
    assert [(g.cause, g.nusd) for g in rounded.gaps] == [("rounding", -2)]
    assert (
        sum(f.cost_nusd for f in rounded.fixes)
        + sum(r.cost_nusd for r in rows if r.ref not in {f.ref for f in rounded.fixes})
        == line.cost_nusd - 2
    )


def test_the_same_amount_in_its_own_currency_is_a_matter_of_the_exchange_rate():
    line, row = call(0)
    done = match([replace(line, cost_nusd=line.cost_nusd + 44, at_sheet=True)], [row], reprice)
    assert [(g.cause, g.nusd) for g in done.gaps] == [("currency", 44)]


# ------------------------------------------------------------------------------------------------- by day and model
def daily(booked: list[Booked], **changes: int) -> Billed:
    """One day's line, as vendors' usage exports sum it up."""
    line = Billed(
        NOON.replace(hour=0), "txt-edge-2026-01-31", sum(r.cost_nusd for r in booked), "", sum(r.tokens_in for r in booked),
        sum(r.tokens_out for r in booked), requests=len(booked), whole_day=True,
    )  # fmt: skip
    return replace(line, **changes)


def test_a_days_sums_agree_by_model_whatever_date_the_vendor_writes_behind_its_name():
    _, booked = pairs(30)
    assert causes([daily(booked)], booked) == []


def test_a_three_per_cent_gap_in_a_days_sums_is_found_and_named_by_line_of_business():
    _, booked = pairs(100)
    dropped = causes([daily(booked)], booked[3:])
    assert {c for c, _, _ in dropped} == {"missing"} and {lob for _, lob, _ in dropped} == {
        "legal",
        "customer-service",
    }
    assert sum(gap for _, _, gap in dropped) == sum(r.cost_nusd for r in booked[:3])
    total = sum(r.cost_nusd for r in booked)
    dearer = causes([daily(booked, cost_nusd=total * 103 // 100)], booked)
    assert {c for c, _, _ in dearer} == {"price"} and sum(
        g for _, _, g in dearer
    ) == total * 103 // 100 - total
    more = daily(booked)
    more = replace(more, tokens_out=(more.tokens_out or 0) + 30, cost_nusd=more.cost_nusd + 30 * OUT)
    assert {c for c, _, _ in causes([more], booked)} == {"tokens"}
    assert {c for c, _, _ in causes([daily(booked), daily(booked)], booked)} == {"billed_twice"}


def test_lines_of_single_calls_without_ids_are_matched_by_their_figures():
    billed, booked = pairs(40)
    nameless = [replace(line, id="") for line in billed]
    nameless[5] = replace(nameless[5], cost_nusd=nameless[5].cost_nusd + 99)
    found = causes([*nameless[:20], *nameless[21:], nameless[0]], booked)
    assert {c for c, _, _ in found} == {"billed_twice", "price", "unbilled"}
    assert sum(gap for _, _, gap in found) == 99 - billed[20].cost_nusd + billed[0].cost_nusd


def test_a_model_that_only_one_side_knows_is_missing_or_unbilled():
    line, row = call(0)
    assert causes([replace(line, id="", model="other")], []) == [("missing", "", line.cost_nusd)]
    assert causes([replace(line, id="", model="other")], [row]) == [
        ("missing", "", line.cost_nusd), ("unbilled", "legal", -line.cost_nusd),
    ]  # fmt: skip


def test_a_credit_without_tokens_is_no_correction_of_an_attempt_without_tokens():
    """It set what an attempt had cost to less than nothing."""
    _, row = call(0)
    done = match(
        [Billed(NOON, "b", -27, id=row.id, tokens_in=0, tokens_out=0)],
        [replace(row, tokens_in=0, tokens_out=0)],
        reprice,
    )
    assert [(gap.cause, gap.nusd) for gap in done.gaps] == [("credit", -27), ("unbilled", -row.cost_nusd)]
    assert [(fix.cause, fix.cost_nusd) for fix in done.fixes] == [("unbilled", 0)]


# ------------------------------------------------------------------------------------------------- property
lines = st.builds(
    Billed,
    at=st.sampled_from([NOON, NOON + timedelta(days=1)]), model=st.sampled_from(["a", "b/x"]),
    cost_nusd=st.integers(-50, 5000), id=st.sampled_from(["", "r0", "r1", "r2", "h"]),
    tokens_in=st.none() | st.integers(0, 30), tokens_out=st.none() | st.integers(0, 9), requests=st.none() | st.integers(1, 3),
    whole_day=st.booleans(), at_sheet=st.booleans(),
)  # fmt: skip
rows = st.builds(
    Booked,
    ref=st.integers(0, 99), id=st.sampled_from(["r0", "r1", "r3", "h"]), request_id=st.sampled_from(["r0", "r1", "r3"]),
    at=st.sampled_from([NOON, NOON - timedelta(days=1)]), model=st.sampled_from(["a", "b"]), lob=st.sampled_from(["x", "y", ""]),
    cost_nusd=st.integers(0, 5000), tokens_in=st.integers(0, 30), tokens_out=st.integers(0, 9), estimated=st.booleans(),
    price=st.sampled_from(["", "price:1"]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(lines, max_size=12), st.lists(rows, max_size=12))
def test_gaps_sum_to_billed_less_booked_exactly_whatever_is_wrong(billed: list[Billed], booked: list[Booked]):
    done = match(billed, booked, reprice)
    difference = sum(line.cost_nusd for line in billed) - sum(row.cost_nusd for row in booked)
    assert sum(gap.nusd for gap in done.gaps) == difference
    assert sum(int(str(f["gap_nusd"])) for f in findings(done.gaps)) == difference
    assert all(fix.cause not in CLAIMS and fix.cost_nusd >= 0 for fix in done.fixes)
