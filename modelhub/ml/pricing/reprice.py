"""An event in, checked advice out: a product's cost or stock has changed, and every shelf price it touches is thought over.

`python -m modelhub.ml.pricing.reprice EVENT.json PRICES.csv --url URL --key KEY` asks the workload `price-advice` of a running
installation and writes the advice as CSV. The demand comes from `/v1/predictions`; the new cost or stock is known here only.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml.pricing.advice import SMALLEST_GAIN
from modelhub.ml.pricing.catalogue import PRODUCTS, STORES, WEEKS_PER_YEAR
from modelhub.ml.pricing.generator import price_limits

STEPS, MOST_RECORDS = 11, 2000
COLUMNS = ("product", "price", "feature_ad", "week", "store")
Line = dict[str, Any]
Ask = Callable[[list[Line]], list[dict[str, Any]]]


class EventRefused(ValueError):
    """The event or a price line can't be read; says which field, and what was expected."""


@dataclass(frozen=True, slots=True)
class Event:
    """What changed. kind `cost`: `value` is the new unit cost in dollars; `stock`: units there are for a week, per store."""

    kind: str
    product: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in ("cost", "stock"):
            raise EventRefused(f"kind {self.kind!r} is unknown: use cost or stock")
        if self.product not in PRODUCTS:
            raise EventRefused(f"product {self.product!r} is unknown: use one of {', '.join(PRODUCTS)}")
        if not (np.isfinite(self.value) and self.value >= 0):
            raise EventRefused(f"value {self.value} must be a number of 0 or more")

    @classmethod
    def read(cls, body: Any) -> Event:
        """From `{"kind", "product", "value"}`. Raises EventRefused."""
        if not isinstance(body, dict) or set(body) != {"kind", "product", "value"}:
            raise EventRefused("an event is an object with kind, product and value")
        try:
            return cls(str(body["kind"]), str(body["product"]), float(body["value"]))
        except (TypeError, ValueError) as error:
            if isinstance(error, EventRefused):
                raise
            raise EventRefused(f"value {body['value']!r} is no number") from None

    @property
    def unit_cost(self) -> float:
        return self.value if self.kind == "cost" else PRODUCTS[self.product].unit_cost


@dataclass(frozen=True, slots=True)
class Advice:
    """For one line: the price to charge, units expected, dollars a week gained over leaving it; `held`: why it stays."""

    line: Line
    price: float
    units: float
    profit_change: float
    held: str = ""


def read_line(row: dict[str, Any], number: int) -> Line:
    """One shelf price. Raises EventRefused naming the line and the field."""
    if missing := [name for name in COLUMNS if not str(row.get(name, "")).strip()]:
        raise EventRefused(f"line {number} lacks {', '.join(missing)}")
    try:
        line: Line = {
            "product": str(row["product"]), "price": float(row["price"]), "feature_ad": int(row["feature_ad"]),
            "week": int(row["week"]), "store": str(row["store"]),
        }  # fmt: skip
    except ValueError as error:
        raise EventRefused(f"line {number}: {error}") from None
    if line["product"] not in PRODUCTS or line["store"] not in STORES:
        raise EventRefused(f"line {number}: {line['product']} in {line['store']} is unknown")
    if not (np.isfinite(line["price"]) and line["price"] > 0):
        raise EventRefused(f"line {number}: price {line['price']} must be above 0")
    if line["feature_ad"] not in (0, 1) or not 1 <= line["week"] <= WEEKS_PER_YEAR:
        raise EventRefused(f"line {number}: feature_ad is 0 or 1, week lies in 1..{WEEKS_PER_YEAR}")
    return line


def prices_to_try(line: Line, event: Event) -> list[float]:
    """The present price first, then steps over prices that were ever charged and that cover the cost."""
    low, high = price_limits(line["product"])
    low = max(low, round(event.unit_cost + 0.01, 2))
    grid = [] if low > high else np.unique(np.round(np.linspace(low, high, STEPS), 2)).tolist()
    return [line["price"], *(price for price in grid if price != line["price"])]


def reprice(event: Event, lines: Sequence[Line], ask: Ask) -> list[Advice]:
    """Advice for every line of the event's product, in order; other lines aren't touched."""
    touched = [line for line in lines if line["product"] == event.product]
    tried = [prices_to_try(line, event) for line in touched]
    records = [
        line | {"price": price} for line, prices in zip(touched, tried, strict=True) for price in prices
    ]
    answers = [item for part in _parts(records) for item in ask(part)]
    if len(answers) != len(records):
        raise RuntimeError(f"{len(records)} prices were asked about and {len(answers)} answered")
    found, at = [], 0
    for line, prices in zip(touched, tried, strict=True):
        units = np.array([float(item["prediction"]) for item in answers[at : at + len(prices)]])
        at += len(prices)
        found.append(checked(line, event, np.array(prices), units))
    return found


def _parts(records: list[Line]) -> Iterator[list[Line]]:
    for start in range(0, len(records), MOST_RECORDS):
        yield records[start : start + MOST_RECORDS]


def checked(line: Line, event: Event, prices: np.ndarray, units: np.ndarray) -> Advice:
    """The price that earns most and passes every check, or the present one with the reason why it stays.

    Checks: demand is a number and not negative; the price covers the cost and was charged before; no more is sold than
    there is; the gain is worth a new label. Shapes: prices (P,), the present one first; units (P,).
    """
    sold = np.minimum(units, event.value) if event.kind == "stock" else units
    usable = np.isfinite(sold) & (sold >= 0)
    profits = np.where(usable, (prices - event.unit_cost) * sold, -np.inf)
    stays = float(sold[0]) if usable[0] else 0.0
    if len(prices) == 1:
        return Advice(line, line["price"], stays, 0.0, "no price that was charged before covers the cost")
    if not usable[1:].any():
        return Advice(line, line["price"], stays, 0.0, "the demand model gave no number")
    best = 1 + int(np.argmax(profits[1:]))
    gain = float(profits[best] - profits[0])
    if usable[0] and gain <= SMALLEST_GAIN * abs(float(profits[0])):
        return Advice(line, line["price"], stays, 0.0, "no other price earns clearly more")
    change = gain if usable[0] else 0.0
    return Advice(line, float(prices[best]), float(sold[best]), round(change, 2))


def over_http(url: str, key: str, timeout_s: float = 60.0) -> Ask:
    """Ask `/v1/predictions` of an installation. What it refuses is raised as RuntimeError with its own words."""

    def ask(records: list[Line]) -> list[dict[str, Any]]:
        body = json.dumps({"model": "price-advice", "records": records}).encode()
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        request = urllib.request.Request(f"{url.rstrip('/')}/v1/predictions", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:
                return list(json.load(reply)["data"])
        except urllib.error.HTTPError as error:
            words = error.read().decode(errors="replace")[:300]
            raise RuntimeError(f"{url} answered {error.code}: {words}") from None

    return ask


def main(arguments: Sequence[str] | None = None) -> int:
    """Read event and prices, ask, write the advice. Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("event", type=Path, help='JSON: {"kind": "cost" | "stock", "product", "value"}')
    parser.add_argument("prices", type=Path, help=f"CSV with {', '.join(COLUMNS)}")
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    given = parser.parse_args(arguments)
    try:
        event = Event.read(json.loads(given.event.read_text("utf-8")))
        with given.prices.open(encoding="utf-8", newline="") as stream:
            lines = [read_line(row, number) for number, row in enumerate(csv.DictReader(stream), 2)]
        advice = reprice(event, lines, over_http(given.url, given.key))
    except (OSError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    writer = csv.writer(sys.stdout)
    writer.writerow([*COLUMNS, "new_price", "units", "profit_change", "held"])
    for one in advice:
        writer.writerow(
            [*(one.line[name] for name in COLUMNS), one.price, round(one.units), one.profit_change, one.held]
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
