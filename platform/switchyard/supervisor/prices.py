"""The stand-in vendor's price sheet: rows of a dated public price book, chosen by name."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from switchyard.supervisor.home import ROOT

FOLDER = ROOT / "data" / "prices"


@dataclass(frozen=True)
class BookPrice:
    """One row of the book: what a vendor asks per million tokens, as decimal text."""

    model: str
    vendor: str
    book_model: str
    input_usd_per_mtok: str
    output_usd_per_mtok: str
    as_of: str
    source: str
    batch_pct: str = ""  # what work that may wait pays of it; empty: the whole


@dataclass(frozen=True)
class NodeRate:
    """What an hour of the private side's machine is taken to cost, and who says so."""

    usd_per_hour: str
    source: str


def node_rate(folder: Path = FOLDER) -> NodeRate:
    plan = json.loads((folder / "stand_in.json").read_text("utf-8"))
    return NodeRate(plan["node"]["usd_per_hour"], plan["node"]["source"])


def stand_in_prices(folder: Path = FOLDER) -> list[BookPrice]:
    """For each model of the stand-in the book's row that `stand_in.json` names. KeyError when the book lacks it."""
    plan = json.loads((folder / "stand_in.json").read_text("utf-8"))
    with (folder / "price_book.csv").open(encoding="utf-8", newline="") as stream:
        book = {(row["vendor"], row["model"]): row for row in csv.DictReader(stream)}
    prices = []
    for model, named in plan["models"].items():
        row = book[named["vendor"], named["model"]]
        prices.append(
            BookPrice(
                model=model,
                vendor=row["vendor"],
                book_model=row["name"],
                input_usd_per_mtok=row["input_usd_per_mtok"],
                output_usd_per_mtok=row["output_usd_per_mtok"],
                as_of=plan["as_of"],
                source=f"{plan['book']}, {plan['as_of']}: {row['name']}",
                batch_pct=plan.get("batch_pct", ""),
            )
        )
    return prices


def write_sheet(path: Path) -> None:
    """The file that the stand-in bills by."""
    sheet = {
        p.model: {
            "input_usd_per_mtok": p.input_usd_per_mtok,
            "output_usd_per_mtok": p.output_usd_per_mtok,
            "source": p.source,
        }
        | ({"batch_pct": p.batch_pct} if p.batch_pct else {})
        for p in stand_in_prices()
    }
    path.write_text(json.dumps(sheet, indent=1) + "\n", "utf-8")
