"""The page of claims and gates: every verdict by its own word, misses shown, files that are absent or broken said so."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from switchyard.dashboards.measured import read_claims, read_results, verdict_of
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

ROOT = Path(__file__).resolve().parents[3]


def row(
    metric: str, value: float | None, met: bool | None, target: str | None = ">= 1", how: str = "tried"
) -> dict[str, Any]:
    return {
        "metric": metric, "value": value, "unit": "×", "low": value, "high": value, "n": 3, "target": target, "met": met,
        "how": how,
    }  # fmt: skip


@pytest.fixture
def shipped(tmp_path: Path, settings: Any) -> Path:
    results = tmp_path / "bench" / "results"
    results.mkdir(parents=True)
    body = {
        "name": "models", "commit": "abc123", "started": "2026-11-26T03:20:25+00:00",
        "machine": {"cpu": "Test CPU", "cores": 2, "load_1m": 2.2},
        "rows": [
            row("kept_promise", 3.0, True), row("broken_promise", 0.5, False), row("foreseen", 2.0, True, how="SIMULATED: x"),
            row("waiting", None, None, None, "not run: no device"), row("plain_figure", 7.0, None, None),
        ],
        "controls": [row("time_share_MatMul", 0.75, None, None), row("time_share_Add", 0.05, None, None)],
    }  # fmt: skip
    (results / "models.json").write_text(json.dumps(body))
    (results / "torn.json").write_text('{"name": "torn", "rows": [')
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "claims.md").write_text(
        "| # | claim | our definition | command | figure | state |\n|---|---|---|---|---|---|\n"
        "| 3 | effective parameters | share | `make bench-models` | 28.2 % | met |\n"
        "| 9 | legal text | log | page *Experts* | none | missed |\n"
    )
    settings.ROOT = tmp_path
    return tmp_path


@pytest.mark.django_db
def test_every_gate_is_shown_with_its_spread_and_its_word(shipped: Path):
    page = client_of("rita", make_company(days=1), "viewer", "legal").get("/claims/")
    text = page.content.decode()
    assert page.status_code == 200 and "torn.json" in text
    gates = {cells[1]: cells for cells in page.context["panel"]["gates"].rows}
    assert {name: cells[2] for name, cells in gates.items()} == {
        "kept_promise": "met", "broken_promise": "missed", "foreseen": "simulated", "waiting": "not run",
    }  # fmt: skip
    assert gates["kept_promise"][3:8] == [3.0, 3.0, 3.0, "×", 3]
    claims = page.context["panel"]["claims"].rows
    assert [(cells[0], str(cells[2])) for cells in claims] == [(3, "met"), (9, "missed")]
    assert claims[1][4] == "page Experts"
    (benchmark,) = page.context["panel"]["benchmarks"].rows
    assert benchmark[:6] == ["make bench-models", 1, 1, 1, 1, 2]
    assert page.context["panel"]["operator-time"].figure["data"][0]["y"] == ["MatMul", "Add"]


@pytest.mark.django_db
def test_the_csv_says_how_each_was_measured(shipped: Path):
    answer = client_of("rita", make_company(days=1), "viewer", "legal").get("/claims/?csv=gates")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert [r["How"] for r in rows if r["Metric"] == "foreseen"] == ["SIMULATED: x"]
    assert next(r for r in rows if r["Metric"] == "waiting")["Value"] == ""


@pytest.mark.django_db
def test_an_installation_without_results_says_so(tmp_path: Path, settings: Any):
    settings.ROOT = tmp_path
    text = client_of("rita", make_company(days=1), "viewer", "legal").get("/claims/").content.decode()
    assert "came without benchmark results" in text and "came without docs/claims.md" in text


@pytest.mark.django_db
def test_the_page_reads_what_ships_and_speaks_chinese(client: Any):
    company: Company = make_company(days=1)
    reader = client_of("rita", company, "viewer", "legal")
    page = reader.get("/claims/", headers={"accept-language": "zh-hans"})
    assert page.status_code == 200 and len(page.context["panel"]["claims"].rows) == 33
    assert not page.context["unreadable"] and "文章的主张" in page.content.decode()
    assert client.get("/claims/").status_code == 302


def test_all_claims_of_the_document_are_read_and_each_has_a_title():
    from switchyard.dashboards.views.claims import TITLES

    found = read_claims(ROOT / "docs" / "claims.md")
    assert [claim.number for claim in found] == list(range(1, 34)) == sorted(TITLES)
    assert all(claim.definition and claim.state for claim in found)


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("met", "met"), ("met; at the same precision 46 %", "met"), ("missed", "missed"), ("not run for this model", "not run"),
        ("half measured", "partly"), ("float32 met; 8-bit missed", "partly"), ("simulated; trial missed", "simulated"),
        ("kit met; advice simulated", "partly"), ("measured where metered, assumptions named", "measured"), ("", "not run"),
    ],
)  # fmt: skip
def test_a_state_in_words_has_one_verdict(state: str, word: str):
    assert verdict_of(state) == word


def test_what_ships_can_be_read_and_a_folder_that_is_not_there_is_empty(tmp_path: Path):
    found = read_results(ROOT / "bench" / "results")
    assert found.benchmarks and not found.unreadable
    assert read_results(tmp_path / "none").benchmarks == []


def test_the_image_takes_the_results_along():
    assert "bench/results" not in (ROOT / ".dockerignore").read_text().split()
