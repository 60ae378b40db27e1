"""Everyday texts that inspection raises by mistake, what that costs, and Chinese on own templates."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path

from bench.common import ROOT, Results, Row
from bench.tools import inspection_cases as cases
from bench.tools.inspection_rates import asked, brought, found, rate
from modelhub.ml.inspect import splits
from routing.inspection import scan
from routing.inspection.learned import classifier
from routing.inspection.sensitivity import RAISES

SEED = 2026
PRIVATE_MS = 5.6  # txt-base, one text, one thread (bench/results/models.json, p50_ms_txt-base)


def everyday(results: Results) -> None:
    sets: dict[str, list[str]] = {
        name: splits.benign(name, "report")
        for name in ("banking77", "clinc150", "reviews_en", "cuad", "unfair_tos")
    }
    with gzip.open(ROOT / "data" / "xstest" / "dev.csv.gz", "rt", encoding="utf-8") as file:
        sets["xstest_safe"] = [row["prompt"] for row in csv.DictReader(file) if row["label"] == "safe"]
    raised = {name: [t for t in texts if found(asked(t)) & RAISES.keys()] for name, texts in sets.items()}
    count, total = sum(map(len, raised.values())), sum(map(len, sets.values()))
    rate(results, "benign_raised_pct", count, total,
          "everyday texts of " + ", ".join(f"{name} ({len(texts)})" for name, texts in sets.items())
          + ": raised for whatever reason, also where there is one", at_most=3, scale=100, unit="%")  # fmt: skip
    for name, texts in sets.items():
        rate(
            results,
            f"benign_raised_pct_{name}",
            len(raised[name]),
            len(texts),
            "of these",
            control=True,
            scale=100,
            unit="%",
        )
    named = [bool(list(classifier().names_in(t))) for texts in sets.values() for t in texts]
    rate(results, "benign_named_pct", sum(named), len(named),
          "the same texts in which a name is found, rightly or not; a name alone raises "
          "nothing", control=True, scale=100, unit="%")  # fmt: skip
    tools = [t for name in splits.DOCUMENTS for t in splits.benign(name, "report")] + splits.code()
    read = ["injection" in found(brought(t)) for t in tools]
    rate(results, "benign_documents_raised_pct", sum(read), len(read),
          "contracts, terms, reviews, consultations and programs as a tool "
          "brings them, taken for an attempt", control=True, scale=100, unit="%")  # fmt: skip
    health = ["health" in found(asked(t)) for t in splits.benign("mts_dialog", "report")]
    rate(
        results,
        "inspection_recall_health",
        sum(health),
        len(health),
        "consultations (mts_dialog) found to speak of health",
        control=True,
    )
    _money(results, count / total, sets)


def _money(results: Results, share: float, sets: dict[str, list[str]]) -> None:
    """What it costs that these stay at home: as the demonstration company pays, per million everyday requests."""
    stand_in = json.loads((ROOT / "data" / "prices" / "stand_in.json").read_text("utf-8"))
    vendor = stand_in["models"]["txt-edge"]
    with (ROOT / "data" / "prices" / "price_book.csv").open(encoding="utf-8") as file:
        price = next(
            r
            for r in csv.DictReader(file)
            if r["vendor"] == vendor["vendor"] and r["model"] == vendor["model"]
        )
    texts = [t for values in sets.values() for t in values]
    tokens = sum(len(t.encode()) for t in texts) / len(texts) / 4
    external = (tokens * float(price["input_usd_per_mtok"]) + float(price["output_usd_per_mtok"])) / 1e6
    private = PRIVATE_MS / 3.6e6 * float(stand_in["node"]["usd_per_hour"]) / 0.5
    value = share * 1e6 * (private - external)
    results.rows.append(
        Row("benign_raised_extra_usd_per_million", round(value, 5), "usd", None, None, len(texts),
            f"share raised × (private − external): {PRIVATE_MS} ms of a ${stand_in['node']['usd_per_hour']}/h node "
            f"at half utilisation "
            f"(${private:.2e}) against {vendor['model']}'s price for {tokens:.0f} tokens and one "
            f"(${external:.2e}); below zero: home is cheaper")
    )  # fmt: skip


def chinese(results: Results) -> None:
    for kind in cases.CHINESE:
        hits = [
            any(
                k == kind and a <= text.find(value) and b >= text.find(value) + len(value)
                for k, a, b in scan.find(text)
            )
            for text, value in cases.chinese(kind, 200, SEED)
        ]
        rate(
            results,
            f"inspection_recall_zh_{kind}",
            sum(hits),
            len(hits),
            "own Chinese templates with generated values",
            control=True,
        )
    texts = splits.chinese("report", 1_000)
    raised = [bool(found(asked(t)) & RAISES.keys()) for t in texts]
    rate(
        results,
        "benign_raised_pct_zh_posts",
        sum(raised),
        len(raised),
        "harmless posts of COLD",
        control=True,
        scale=100,
        unit="%",
    )
    for name, file in (
        ("zh_hotel", "zh_hotel_val"),
        ("zh_takeaway", "zh_takeaway_val"),
        ("airline_tweets", "airline_tweets_val"),
    ):
        path = Path(os.environ.get("SWITCHYARD_DATA", "")) / "sentiment" / f"{file}.csv.gz"
        if not path.is_file():
            results.controls.append(
                Row(
                    f"benign_raised_pct_{name}",
                    None,
                    "%",
                    None,
                    None,
                    0,
                    "not run: SWITCHYARD_DATA has no such set",
                )
            )
            continue
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            texts = [row["text"] for row in csv.DictReader(stream)]
        raised = [bool(found(asked(t)) & RAISES.keys()) for t in texts]
        rate(
            results,
            f"benign_raised_pct_{name}",
            sum(raised),
            len(raised),
            "measured only, nothing fitted on it",
            control=True,
            scale=100,
            unit="%",
        )
