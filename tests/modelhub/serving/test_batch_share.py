"""The stand-in bills work that may wait at its batch share, by the same rounding as a sheet's."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import httpx2 as httpx

from costs.contracts import PriceSheet, Usage
from costs.pricing import external_cost
from modelhub.serving.bill import Bill
from switchyard.core.money import usd_to_nusd
from tests.fakes.stand_in import StandIn


def test_half_the_price_to_the_nano_dollar(tmp_path: Path) -> None:
    sheet = {"m": {"input_usd_per_mtok": "0.05", "output_usd_per_mtok": "0.40", "batch_pct": "50"}}
    (tmp_path / "prices.json").write_text(json.dumps(sheet))
    bill = Bill(tmp_path / "bill.db", tmp_path / "prices.json")
    ours = PriceSheet(
        "v1", input_nusd_per_munit=usd_to_nusd(Decimal("0.05")), output_nusd_per_munit=usd_to_nusd(Decimal("0.40")),
        batch_ppm=500_000,
    )  # fmt: skip
    for count in range(1, 40):
        bill.charge(
            request_id=f"r{count}", model="m", tokens_in=count, tokens_out=count % 3, waits=count % 2 == 0
        )
    rows = bill.between("", "")["rows"]
    for count, row in enumerate(rows, start=1):
        usage = Usage(tokens_in=count, tokens_out=count % 3, batch=count % 2 == 0)
        assert usd_to_nusd(Decimal(row["cost_usd"])) == external_cost(usage, ours), count
    bill.close()


def test_a_call_says_that_it_waits(tmp_path: Path) -> None:
    with StandIn(tmp_path, ("support-sentiment",)) as server:
        server.bill._share_ppm = dict.fromkeys(server.bill._share_ppm, 500_000)
        headers = {"authorization": f"Bearer {server.key}"}
        body = {"model": "txt-edge/support-sentiment", "input": ["a good day for all of us"] * 40}
        for more in ({}, {"service_tier": "flex"}):
            assert (
                httpx.post(f"{server.url}/classifications", json=body | more, headers=headers).status_code
                == 200
            )
        plain, waiting = (Decimal(row["cost_usd"]) for row in server.bill.between("", "")["rows"])
        assert waiting * 2 == plain
