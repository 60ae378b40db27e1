"""Price files are read exactly, or refused with the line and the reason."""

import csv
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.sheets.book import decode, read_book
from switchyard.core.errors import ValidationFailed

AT = datetime(2026, 8, 5, tzinfo=UTC)
ROOT = Path(__file__).parents[3]
LITELLM = """{
  "sample_spec": {"input_cost_per_token": 0, "mode": "one of chat, …"},
  "claude-sonnet-4-5": {
    "cache_creation_input_token_cost": 3.75e-06,
    "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06,
    "cache_read_input_token_cost": 3e-07,
    "cache_read_input_token_cost_above_200k_tokens": 6e-07,
    "input_cost_per_token": 3e-06,
    "input_cost_per_token_above_200k_tokens": 6e-06,
    "input_cost_per_token_batches": 1.5e-06,
    "output_cost_per_token_batches": 7.5e-06,
    "litellm_provider": "anthropic",
    "max_input_tokens": 200000,
    "mode": "chat",
    "output_cost_per_token": 1.5e-05,
    "output_cost_per_token_above_200k_tokens": 2.25e-05,
    "search_context_cost_per_query": {"search_context_size_high": 0.01}
  },
  "text-embedding-3-small": {"input_cost_per_token": 2e-08, "output_cost_per_token": 0.0, "mode": "embedding"}
}
"""


def anybody(*_):
    return True


def read(text, kind="csv", wanted=anybody):
    return read_book(text, kind=kind, at=AT, wanted=wanted)


def test_the_public_book_that_ships_is_read_whole():
    text = (ROOT / "data" / "prices" / "price_book.csv").read_text("utf-8")
    book = read(text)
    rows = {row.model: row for row in book.rows}
    assert book.refused == [] and len(book.rows) + book.not_in_force == len(text.splitlines()) - 1
    assert rows["gpt-5-nano"].terms == {
        "input_nusd_per_munit": 50_000_000, "output_nusd_per_munit": 400_000_000, "cached_input_nusd_per_munit": 5_000_000,
    }  # fmt: skip
    # DeepSeek raised its price on 2025-02-08: the row of the day counts.
    assert rows["deepseek-chat"].terms["input_nusd_per_munit"] == 270_000_000
    ended = [row for row in csv.DictReader(text.splitlines()) if row["to_date"]]
    assert book.not_in_force == len(ended) and {row["model"] for row in ended} >= {"deepseek-chat"}
    assert rows["amazon-nova-micro"].terms["cached_input_nusd_per_munit"] is None


def test_per_token_costs_become_exact_prices_per_million_with_their_tiers():
    rows = {row.model: row for row in read(LITELLM, "litellm").rows}
    sonnet = rows["claude-sonnet-4-5"]
    assert sonnet.line == 3 and sonnet.ignored == ("search_context_cost_per_query",)
    assert sonnet.terms == {
        "currency": "USD", "input_nusd_per_munit": 3_000_000_000, "output_nusd_per_munit": 15_000_000_000,
        "cached_input_nusd_per_munit": 300_000_000, "cache_write_nusd_per_munit": 3_750_000_000,
        "reasoning_nusd_per_munit": None, "second_nusd_per_munit": 0, "batch_ppm": 500_000,
        "tiers": [{
            "above_tokens_in": 200_000, "cache_write_nusd_per_munit": 7_500_000_000, "cached_input_nusd_per_munit": 600_000_000,
            "input_nusd_per_munit": 6_000_000_000, "output_nusd_per_munit": 22_500_000_000,
        }],
    }  # fmt: skip
    assert rows["text-embedding-3-small"].terms["input_nusd_per_munit"] == 20_000_000


def test_only_models_that_somebody_uses_are_read_and_the_others_are_counted():
    book = read(LITELLM, "litellm", lambda vendor, model, deployment: vendor == "anthropic")
    assert [row.model for row in book.rows] == ["claude-sonnet-4-5"]
    assert (book.others, book.refused) == (2, [])


def test_tiers_in_our_csv_follow_their_model():
    book = read(
        "model,input_usd_per_mtok,output_usd_per_mtok,batch_pct,above_tokens_in,usd_per_second,currency\n"
        "big,1.25,10,50,,0.000725,EUR\nbig,2.5,15,,200000,,\nbig,,12,,128000,,\n"
    )
    (row,) = book.rows
    assert row.terms["tiers"] == [
        {"above_tokens_in": 128_000, "output_nusd_per_munit": 12_000_000_000},
        {
            "above_tokens_in": 200_000,
            "input_nusd_per_munit": 2_500_000_000,
            "output_nusd_per_munit": 15_000_000_000,
        },
    ]
    assert (row.terms["batch_ppm"], row.terms["currency"]) == (500_000, "EUR")
    assert row.terms["second_nusd_per_munit"] == 725_000_000_000


HEAD = "model,input_usd_per_mtok,output_usd_per_mtok,from_date,to_date,above_tokens_in\n"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("m,-1,1,,,", "negative"), ("m,1;5,1,,,", "no decimal number"), ("m,NaN,1,,,", "no decimal number"),
        ("m,1_000,1,,,", "no decimal number"), ("m,1e999,1,,,", "beyond any price"), ("m,1e9999,1,,,", "no decimal number"),
        ("m,,1,,,", "is empty"), ("m,1", "2 cells under 6 columns"), (",1,1,,,", "neither a model nor a deployment"),
        ("m,1,1,yesterday,,", "no ISO date"), ("m,1,1,,,200k", "whole number"), ("m,1,1,,,5", "a tier comes after"),
        ("ok,1,1,,,", "line 2 has a price of it"), ("m,=1+1,1,,,", "no decimal number"), ("m,١,1,,,", "no decimal number"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_refused_with_its_line_and_the_others_are_not(row, reason):
    book = read(f"{HEAD}ok,1,1,,,\n\n{row}\n")
    assert [r.model for r in book.rows] == ["ok"]
    (refusal,) = book.refused
    assert refusal.line == 4 and reason in refusal.reason


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('"many"', "no object"), ('{"input_cost_per_token": 1e-6}', "no output_cost_per_token"),
        ('{"input_cost_per_token": "1e-6", "output_cost_per_token": 1e-6}', "no number"),
        ('{"input_cost_per_token": true, "output_cost_per_token": 1e-6}', "no number"),
        ('{"input_cost_per_token": NaN, "output_cost_per_token": 1e-6}', "no number"),
        ('{"input_cost_per_token": -1e-6, "output_cost_per_token": 1e-6}', "negative"),
        ('{"input_cost_per_token": 0.0, "output_cost_per_token": 0}', "all its prices are zero"),
        ('{"input_cost_per_token": 1e99999999999, "output_cost_per_token": 0}', "no decimal number"),
        ('{"input_cost_per_token": 2e-6, "output_cost_per_token": 4e-6, "input_cost_per_token_batches": 1e-6, '
         '"output_cost_per_token_batches": 1e-6}', "no single share"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_is_refused_with_its_line(value, reason):
    book = read(
        '{\n "ok": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6},\n "bad": ' + value + "\n}",
        "litellm",
    )
    assert [r.model for r in book.rows] == ["ok"]
    (refusal,) = book.refused
    assert refusal.line == 3 and reason in refusal.reason


def test_a_model_named_twice_is_refused_the_second_time():
    one = '{"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}'
    (refusal,) = read(f'{{"m": {one},\n"m": {one}}}', "litellm").refused
    assert (refusal.line, refusal.reason) == (2, "line 1 names it too")


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("csv", "", "neither a column model"), ("csv", "model,colour\n", "Line 1: unknown columns 'colour'"),
        ("csv", "model,model\n", "twice"), ("csv", 'model\n"a', "Line 2: unexpected end"),
        ("csv", "model\n\x00\n", "Line 2: the file is not text"), ("csv", "model\n\ud800\n", "Line 2: the file is not UTF-8"),
        ("litellm", "[]", "Line 1: the file is no JSON object"), ("litellm", '{\n"a" 1}', "Line 2: a key and a colon"),
        ("litellm", '{\n"a": {\n"b": }}', "Line 3: Expecting value"), ("litellm", "{} {}", "something follows"),
        ("litellm", '{"a": ' + "[" * 100_000, "Line 1: it is nested too deep"), ("xml", "", "no format"),
        ("csv", "model\n" + "m\n" * 20_001, "more than 20000 rows"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_with_the_place(kind, text, words):
    with pytest.raises(ValidationFailed, match=words) as refused:
        read(text, kind)
    assert {"path", "line", "column", "message"} == set(refused.value.errors[0])


def test_a_file_is_utf_8_and_not_too_large():
    assert decode("\ufeffmodel\n".encode()) == "model\n"
    with pytest.raises(ValidationFailed, match="Line 2: the file is not UTF-8"):
        decode(b"model\n\xff\xfe")
    with pytest.raises(ValidationFailed, match="larger than 4 MiB"):
        decode(b"x" * (4 * 1024 * 1024 + 1))


@given(st.decimals(0, 10**5, places=9))
def test_no_digit_of_an_amount_is_lost(amount):
    (row,) = read(f"model,input_usd_per_mtok,output_usd_per_mtok\nm,{amount:f},0\n").rows
    assert row.terms["input_nusd_per_munit"] == amount * 10**9
    per_token = amount / 10**6
    (row,) = read(
        f'{{"m": {{"input_cost_per_token": {per_token}, "output_cost_per_token": 1}}}}', "litellm"
    ).rows
    assert Decimal(row.terms["input_nusd_per_munit"]) == amount * 10**9


@given(st.text(max_size=200), st.sampled_from(["csv", "litellm"]))
def test_any_text_is_read_or_refused_and_nothing_else(text, kind):
    for start in ("", "model,input_usd_per_mtok\n", '{"m": '):
        try:
            read(start + text, kind)
        except ValidationFailed as refused:
            assert refused.errors
