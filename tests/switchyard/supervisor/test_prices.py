"""The stand-in's sheet is made of named rows of a dated book."""

import json
from decimal import Decimal

from modelhub.serving.sessions import SIDES
from switchyard.supervisor.prices import node_rate, stand_in_prices, write_sheet


def test_every_model_of_the_stand_in_has_a_price_with_book_and_date():
    prices = {price.model: price for price in stand_in_prices()}
    assert set(prices) == set(SIDES["external"])
    for price in prices.values():
        assert (
            price.as_of in price.source and "llm-prices" in price.source and price.book_model in price.source
        )
        assert 0 < Decimal(price.input_usd_per_mtok) <= Decimal(price.output_usd_per_mtok)


def test_the_sheet_it_bills_by_says_the_same(tmp_path):
    write_sheet(tmp_path / "sheet.json")
    sheet = json.loads((tmp_path / "sheet.json").read_text())
    assert {m: p["input_usd_per_mtok"] for m, p in sheet.items()} == {
        p.model: p.input_usd_per_mtok for p in stand_in_prices()
    }


def test_the_node_has_a_named_rate():
    rate = node_rate()
    assert Decimal(rate.usd_per_hour) > 0
    assert "us-east-1" in rate.source
