"""Bills of every shape are read exactly, and what can't be read is refused with its line."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from costs.reconciliation.bills import BillRefused, read_invoice, read_usage

COLUMNS = (
    "start_time_iso,end_time_iso,num_model_requests,project_id,model,input_tokens,output_tokens,input_cached_tokens,"
    "amount_value,amount_currency"
)
OPENAI = f"""{COLUMNS}
2026-11-03T00:00:00+00:00,2026-11-04T00:00:00+00:00,120,proj_a,nano-2025-04-14,24000,600,1000,0.0026,usd
2026-11-04T00:00:00+00:00,2026-11-05T00:00:00+00:00,80,proj_b,nano-2025-04-14,16000,400,0,0.0017600001,usd
"""


def test_the_stand_ins_json_is_read_to_the_nano_dollar():
    text = """{"rows": [{"request_id": "req_1", "at": "2026-11-03T12:00:00.5+01:00", "model": "txt-edge/x", "tokens_in": 12,
      "tokens_out": 1, "cost_usd": "0.000001001"}], "total_usd": "0.000001001"}"""
    bill = read_usage(text)
    (row,) = bill.rows
    assert (row.request_id, row.amount_nano, row.tokens_in, row.tokens_out) == ("req_1", 1_001, 12, 1)
    assert row.at == datetime(2026, 11, 3, 11, 0, 0, 500_000, UTC) and not row.whole_day
    assert bill.currency == "USD" and bill.by_request and len(bill.digest) == 64


def test_a_bill_that_contradicts_its_own_total_is_refused():
    with pytest.raises(BillRefused, match="contradicts itself"):
        read_usage('{"rows": [{"at": "2026-11-03", "model": "m", "cost_usd": "1"}], "total_usd": "2"}')


def test_openais_usage_export_with_costs_is_read_by_its_own_columns():
    bill = read_usage(OPENAI)
    first, second = bill.rows
    assert (first.model, first.tokens_in, first.tokens_out, first.cached_in) == (
        "nano-2025-04-14",
        24000,
        600,
        1000,
    )
    assert (first.amount_nano, second.amount_nano) == (2_600_000, 1_760_000)  # half-even at the tenth place
    assert (first.requests, first.account, bill.currency, bill.by_request) == (120, "proj_a", "USD", False)


def test_older_column_names_and_days_are_read_too():
    text = "date,model,n_context_tokens_total,n_generated_tokens_total,cost,currency\n2026-11-03,m,10,2,0.5,EUR\n"
    bill = read_usage(text)
    assert (bill.rows[0].tokens_in, bill.rows[0].tokens_out, bill.rows[0].whole_day, bill.currency) == (
        10,
        2,
        True,
        "EUR",
    )


def test_a_bill_that_does_not_say_its_currency_needs_to_be_told():
    text = "date,model,cost\n2026-11-03,m,0.5\n"
    with pytest.raises(BillRefused, match="no currency"):
        read_usage(text)
    assert read_usage(text, currency="eur").currency == "EUR"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("yesterday,m,1,USD", "no date"),
        ("2026-11-03,m,1.2.3,USD", "no decimal number"),
        ('2026-11-03,m,"1,234.50",USD', "without thousands separators"),
        ("2026-11-03,m,NaN,USD", "no decimal number"),
        ("2026-11-03,m,1e40,USD", "no decimal number"),
        ("2026-11-03,,1,USD", "names no model"),
        ("2026-11-03,m,1,dollars", "no currency"),
        ("2026-11-03,m,1", "number of cells"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(line: str, words: str):
    with pytest.raises(BillRefused, match=words) as refused:
        read_usage(f"date,model,amount,currency\n2026-11-02,m,1,USD\n{line}\n")
    assert refused.value.errors[0]["line"] == 3


def test_negative_or_absurd_tokens_are_refused():
    for tokens in ("-1", "1.5", "1e30"):
        with pytest.raises(BillRefused, match="no count|no decimal"):
            read_usage(f"date,model,input_tokens,amount_usd\n2026-11-03,m,{tokens},1\n")


def test_two_currencies_in_one_bill_are_refused():
    with pytest.raises(BillRefused, match="mixes currencies"):
        read_usage("date,model,amount,currency\n2026-11-03,m,1,USD\n2026-11-03,m,1,EUR\n")


@pytest.mark.parametrize("text", ["", "  ", "{", "[1]", '{"rows": 3}', "a,b\n1,2\n", '"'])
def test_what_is_no_bill_is_refused(text: str):
    with pytest.raises(BillRefused):
        read_usage(text)


def test_an_invoice_of_a_machine_is_read_and_its_hours_must_fit_its_span():
    head = "resource,start,end,hours,amount,currency\n"
    bill = read_invoice(head + "gpu-1,2026-11-03T00:00:00Z,2026-11-04T00:00:00Z,24,48.00,USD\n")
    (row,) = bill.rows
    assert (row.resource, row.hours, row.amount_nano) == ("gpu-1", Decimal(24), 48_000_000_000)
    with pytest.raises(BillRefused, match="don't fit"):
        read_invoice(head + "gpu-1,2026-11-03,2026-11-04,25,48.00,USD\n")
    with pytest.raises(BillRefused, match="must end after"):
        read_invoice(head + "gpu-1,2026-11-04,2026-11-03,1,48.00,USD\n")
