"""An event of cost or stock to checked advice: hand-worked prices, checks that hold a price, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.pricing import generator, reprice
from modelhub.ml.pricing.catalogue import PRODUCTS
from modelhub.ml.pricing.reprice import Event, EventRefused, checked

JUICE = "orange-juice-brand"


def line(price: float = 2.3, **changes: Any) -> dict[str, Any]:
    return {"product": JUICE, "price": price, "feature_ad": 0, "week": 10, "store": "store-01"} | changes


def true_demand(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"prediction": generator.expected_units(**record)} for record in records]


def test_a_dearer_product_gets_a_dearer_price_close_to_the_known_optimum():
    (advice,) = reprice.reprice(Event("cost", JUICE, 1.9), [line()], true_demand)
    low, high = generator.price_limits(JUICE)
    prices = np.round(np.arange(round(low * 100), round(high * 100) + 1) / 100, 2)
    earned = [(p - 1.9) * generator.expected_units(**line(float(p))) for p in prices]
    assert advice.price > 2.3 and advice.held == ""
    got = (advice.price - 1.9) * generator.expected_units(**line(advice.price))
    assert got >= 0.99 * max(earned)
    before = (2.3 - 1.9) * generator.expected_units(**line())
    assert advice.profit_change == pytest.approx(got - before, abs=0.01)


def test_little_stock_is_sold_dearer_and_never_more_than_there_is():
    sold = generator.expected_units(**line())
    (advice,) = reprice.reprice(Event("stock", JUICE, sold / 3), [line()], true_demand)
    assert advice.price == generator.price_limits(JUICE)[1]  # even the dearest price sells it all
    assert advice.units <= sold / 3 + 1e-9


def test_by_hand_three_prices_and_their_demand():
    prices, units = np.array([2.0, 2.2, 2.4]), np.array([100.0, 90.0, 50.0])
    found = checked(line(2.0), Event("cost", JUICE, 1.5), prices, units)
    assert (found.price, found.units, found.profit_change) == (2.2, 90, 13.0)  # 0.7·90 − 0.5·100


@pytest.mark.parametrize(
    ("cost", "units", "why"),
    [
        (1.5, [100.0, 71.4, 40.0], "no other price earns clearly more"),
        (1.5, [100.0, float("nan"), -3.0], "the demand model gave no number"),
    ],
)
def test_a_price_stays_where_a_check_fails(cost: float, units: list[float], why: str):
    found = checked(line(2.0), Event("cost", JUICE, cost), np.array([2.0, 2.2, 2.4]), np.array(units))
    assert (found.price, found.profit_change, found.held) == (2.0, 0.0, why)


def test_a_cost_above_every_price_ever_charged_moves_nothing():
    (advice,) = reprice.reprice(Event("cost", JUICE, 9.0), [line()], true_demand)
    assert advice.price == 2.3 and "covers the cost" in advice.held


def test_lines_of_other_products_are_not_asked_about():
    asked: list[dict[str, Any]] = []

    def ask(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        asked.extend(records)
        return true_demand(records)

    lines = [line(), line(product="avocado-organic", price=1.6), line(store="store-02")]
    advice = reprice.reprice(Event("cost", JUICE, 1.6), lines, ask)
    assert [one.line["store"] for one in advice] == ["store-01", "store-02"]
    assert {record["product"] for record in asked} == {JUICE}


def test_many_lines_are_asked_in_calls_that_the_interface_takes():
    sizes = []

    def ask(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        sizes.append(len(records))
        return true_demand(records)

    advice = reprice.reprice(Event("cost", JUICE, 1.6), [line()] * 500, ask)
    assert len(advice) == 500 and max(sizes) <= 2048 and len(sizes) > 1
    with pytest.raises(RuntimeError, match="answered"):
        reprice.reprice(Event("cost", JUICE, 1.6), [line()], lambda records: [])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "an object"), ({"kind": "cost"}, "an object"), ({"kind": "rain", "product": JUICE, "value": 1}, "cost or stock"),
        ({"kind": "cost", "product": "car", "value": 1}, "'car' is unknown"),
        ({"kind": "cost", "product": JUICE, "value": "much"}, "no number"),
        ({"kind": "stock", "product": JUICE, "value": -1}, "0 or more"),
        ({"kind": "cost", "product": JUICE, "value": float("nan")}, "0 or more"),
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_read_says_what_was_expected(body: Any, said: str):
    with pytest.raises(EventRefused, match=said):
        Event.read(body)


def test_a_bad_price_line_is_named_by_its_number():
    for row, said in (
        ({"product": JUICE}, "line 3 lacks price"), (line(price="x"), "line 3"), (line(price=-1), "above 0"),
        (line(week=99), "week lies in"), (line(store="moon"), "unknown"),
    ):  # fmt: skip
        with pytest.raises(EventRefused, match=said):
            reprice.read_line(row, 3)


@pytest.fixture
def installation() -> Iterator[str]:
    """Answers /v1/predictions by the shipped model; refuses another key."""
    from modelhub.serving.runners.tabular import TabularModel

    model = TabularModel(artifacts.SHIPPED / "tabular-base")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            right = self.headers["authorization"] == "Bearer sy_test" and self.path == "/v1/predictions"
            found = {"data": model.predict(body["model"], body["records"])} if right else {"error": "no"}
            self.send_response(200 if right else 401)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_command_writes_advice_and_says_what_an_installation_refused(
    installation: str, tmp_path: Path, capsys: Any
):
    event, prices = tmp_path / "event.json", tmp_path / "prices.csv"
    event.write_text(json.dumps({"kind": "cost", "product": JUICE, "value": PRODUCTS[JUICE].unit_cost * 1.2}))
    prices.write_text("product,price,feature_ad,week,store\n" + f"{JUICE},2.3,0,10,store-01\n")
    words = [str(event), str(prices), "--url", installation]
    assert reprice.main([*words, "--key", "sy_test"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.endswith("new_price,units,profit_change,held") and float(row.split(",")[5]) > 2.3
    assert reprice.main([*words, "--key", "other"]) == 1
    assert "answered 401" in capsys.readouterr().err
