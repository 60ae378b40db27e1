"""What the business waits for: a cost or stock event to checked prices, through the real interface of the whole product.

`python -m bench.business` starts the product as `make run` does, in a folder of its own, and asks it over HTTP with the
demonstration's key of the line of business; nothing is called inside. Two minutes, most of it starting.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.common import FULL, Results, child, free_port
from modelhub.ml.pricing import generator
from modelhub.ml.pricing.catalogue import PRODUCTS, STORES
from modelhub.ml.pricing.reprice import Advice, Event, Line, over_http, reprice

LINES, EVENTS, MOST_S, START_S = 1000, 40 if FULL else 20, 60.0, 240.0
HOURLY_S = 3600.0


def main() -> None:
    results = Results("business")
    with tempfile.TemporaryDirectory(prefix="business-") as folder:
        home, port = Path(folder), free_port()
        env = {"SWITCHYARD_HOME": str(home), "PORT": str(port), "SWITCHYARD_DEMO_HISTORY": "0"}
        with child("-m", "switchyard.supervisor.cli", "run", env=env, log=home / "console.log") as process:
            demo = started(home, process.poll)
            pricing(results, over_http(demo["url"], pricing_key(demo)))
    results.write()


def started(home: Path, ended: Callable[[], int | None]) -> dict[str, Any]:
    """demo.json, which is written when everything answers. Raises RuntimeError when it doesn't come."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if ended() is not None:
            raise RuntimeError((home / "console.log").read_text("utf-8", "replace")[-2000:])
        if (home / "demo.json").is_file():
            return dict(json.loads((home / "demo.json").read_text()))
        time.sleep(0.2)
    raise RuntimeError(f"the product did not start within {START_S:g} s")


def pricing_key(demo: dict[str, Any]) -> str:
    """The key that may use `price-advice`: found by asking, as a client would. Raises RuntimeError."""
    for key in demo["keys"].values():
        request = urllib.request.Request(
            f"{demo['url']}/v1/models", headers={"authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            if any(model["id"] == "price-advice" for model in json.load(reply)["data"]):
                return str(key)
    raise RuntimeError("no key of the demonstration may use price-advice")


def shelf(product: str, count: int) -> list[Line]:
    """Shelf prices of one product: every store in every week, as the retailer charged them."""
    rows = [record for split in ("train", "val") for record in generator.rows(split)[0]]
    return [record for record in rows if record["product"] == product][:count]


def pricing(results: Results, ask: Callable[[list[Line]], list[dict[str, Any]]]) -> None:
    """Seconds from an event to checked advice for 1,000 shelf prices, and what following it would earn."""
    rng = np.random.default_rng(1)
    names, took, held, regrets, kept = list(PRODUCTS), [], 0, [], []
    for number in range(EVENTS):
        product = names[number % len(names)]
        event = drawn(product, "cost" if number % 2 == 0 else "stock", rng)
        lines = shelf(product, LINES)
        began = time.perf_counter()
        advice = reprice(event, lines, ask)
        took.append(time.perf_counter() - began)
        if len(advice) != LINES:
            raise RuntimeError(f"{len(advice)} of {LINES} prices were answered")
        held += sum(bool(one.held) for one in advice)
        if event.kind == "cost":
            regrets.append(regret(event, advice))
            kept.append(regret(event, [Advice(line, line["price"], 0, 0) for line in lines]))
    p95 = float(np.quantile(took, 0.95))
    how = (
        f"from a cost or stock event to checked advice for {LINES:,} shelf prices (6 products, {len(STORES)} stores, weeks), "
        f"through /v1/predictions of the whole product, one caller; p95 of {len(took)} events, low and high: quickest and slowest"
    )
    row = results.add("pricing_event_to_advice_p95_s", [p95], "s", how, at_most=MOST_S)
    results.rows[-1] = type(row)(**(vars(row) | {"low": min(took), "high": max(took), "n": len(took)}))
    results.add(
        "pricing_hourly_batch_s", [HOURLY_S / 2], "s",
        "what an hourly batch would wait on average before it even starts: arithmetic, not measured", control=True,
    )  # fmt: skip
    results.add(
        "pricing_held_share",
        [held / (LINES * len(took))],
        "share",
        "prices that a check left as they were",
        control=True,
    )
    how = "profit missed against the generator's known optimum at the new cost, a share of it; cost events"
    results.add("pricing_profit_regret", regrets, "share", how)
    results.add(
        "pricing_profit_regret_without_advice", kept, "share", f"{how}; prices left alone", control=True
    )


def drawn(product: str, kind: str, rng: np.random.Generator) -> Event:
    """A cost up or down by a tenth or two, or stock for a part of a usual week."""
    item = PRODUCTS[product]
    if kind == "cost":
        return Event("cost", product, round(item.unit_cost * float(rng.uniform(0.8, 1.2)), 2))
    return Event("stock", product, float(round(item.units_per_week * rng.uniform(0.3, 0.9))))


def regret(event: Event, advice: list[Advice]) -> float:
    """Share of the best possible expected profit that these prices miss, at the event's cost."""
    missed = possible = 0.0
    for one in advice:
        low, high = generator.price_limits(event.product)
        prices = [*np.round(np.arange(round(low * 100), round(high * 100) + 1) / 100, 2).tolist(), one.price]
        earned = [
            (p - event.unit_cost) * generator.expected_units(**(one.line | {"price": p})) for p in prices
        ]
        missed += max(earned) - earned[-1]
        possible += max(earned)
    return missed / possible


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    main()
