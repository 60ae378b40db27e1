"""The catalogue as it is shipped (data/catalogue, data/prices): pure reading, each fact with its source and date."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from switchyard.core.errors import NotFound

DATA = Path(__file__).resolve().parents[2] / "data"
MODELS_AS_OF, BOOK_AS_OF = "2026-07-24", "2026-08-05"
MODELS_FROM = "model-price-repo (from litellm)"
BOOK_FROM = "llm-prices (github.com/simonw/llm-prices)"
TASK = {"chat": "chat", "completion": "completion", "embedding": "embedding"}
# Columns of models.csv → those of our own price files.
PRICES = {
    "input_usd_per_mtok": "input_usd_per_mtok", "output_usd_per_mtok": "output_usd_per_mtok",
    "cache_read_usd_per_mtok": "cached_input_usd_per_mtok", "cache_write_usd_per_mtok": "cache_write_usd_per_mtok",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CatalogueModel:
    """A model with its list price: decimal text in dollars per million tokens, by column of our price files."""

    vendor: str
    model: str
    task: str
    prices: dict[str, str]
    source: str
    as_of: str
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    batch_pct: str = ""
    abilities: tuple[str, ...] = ()

    @property
    def priced(self) -> bool:
        return {"input_usd_per_mtok", "output_usd_per_mtok"} <= set(self.prices)

    @property
    def told_source(self) -> str:
        return f"{self.source}, as of {self.as_of}"[:300]


@dataclass(frozen=True, slots=True)
class Vendor:
    """Where somebody answers in OpenAI's shape. `base_url` may have {places} to fill in; auth: bearer | header | none."""

    slug: str
    name: str
    kind: str  # vendor | server
    base_url: str
    auth: str
    header: str
    docs: str
    note: str
    as_of: str
    models: tuple[CatalogueModel, ...] = field(default=(), repr=False)

    def model(self, name: str) -> CatalogueModel:
        for row in self.models:
            if row.model == name:
                return row
        raise NotFound(f"The catalogue has no model {name[:100]!r} of {self.name}.", param="model")


@lru_cache(maxsize=1)
def vendors() -> tuple[Vendor, ...]:
    told = json.loads((DATA / "catalogue" / "vendors.json").read_text("utf-8"))
    models, book = list(_models()), list(_book())
    return tuple(_vendor(row, told["as_of"], models, book) for row in told["vendors"])


def vendor_named(slug: str) -> Vendor:
    for vendor in vendors():
        if vendor.slug == slug:
            return vendor
    known = ", ".join(vendor.slug for vendor in vendors())
    raise NotFound(f"The catalogue has no vendor {slug[:60]!r}; it has {known}.", param="vendor")


def _vendor(
    row: dict[str, Any], as_of: str, models: list[CatalogueModel], book: list[CatalogueModel]
) -> Vendor:
    """Models of its providers; where the catalogue has none, or not this one, the price book's."""
    own = {m.model: m for m in book if row["book"] and m.vendor == row["book"]}
    own |= {m.model: m for m in models if m.vendor in row["providers"]}
    return Vendor(
        row["slug"], row["name"], row["kind"], row["base_url"], row["auth"], row["header"], row["docs"], row["note"], as_of,
        tuple(own[name] for name in sorted(own)),
    )  # fmt: skip


def _models() -> Iterable[CatalogueModel]:
    with (DATA / "catalogue" / "models.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            prices = {ours: row[theirs] for theirs, ours in PRICES.items() if row[theirs]}
            if row["mode"] == "embedding":
                prices.setdefault("output_usd_per_mtok", "0")
            abilities = tuple(name for name in ("function_calling", "reasoning", "vision") if row[name])
            yield CatalogueModel(
                row["provider"], row["model"], TASK[row["mode"]], prices, row["source"] or MODELS_FROM, MODELS_AS_OF,
                _whole(row["max_input_tokens"]), _whole(row["max_output_tokens"]), _batch(row), abilities,
            )  # fmt: skip


def _book() -> Iterable[CatalogueModel]:
    """Rows in force on the book's own day."""
    with (DATA / "prices" / "price_book.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            begins, ends = row["from_date"] or "0", row["to_date"] or "9"
            if begins <= BOOK_AS_OF < ends:
                names = ("input_usd_per_mtok", "output_usd_per_mtok", "cached_input_usd_per_mtok")
                prices = {name: row[name] for name in names if row[name]}
                yield CatalogueModel(row["vendor"], row["model"], "chat", prices, BOOK_FROM, BOOK_AS_OF)


def _batch(row: dict[str, str]) -> str:
    """What batch work pays, in per cent, where input and output have the same share."""
    shares = set()
    for name in ("input", "output"):
        plain, batch = row[f"{name}_usd_per_mtok"], row[f"batch_{name}_usd_per_mtok"]
        if not plain or not batch or float(plain) == 0:
            return ""
        shares.add(round(100 * float(batch) / float(plain), 4))
    return f"{shares.pop():g}" if len(shares) == 1 else ""


def _whole(text: str) -> int | None:
    return int(text) if text else None
