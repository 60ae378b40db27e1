"""Every chart has its rows: a table below it, and a file with all of them."""

from __future__ import annotations

import csv
from html import unescape
from html.parser import HTMLParser
from io import StringIO
from urllib.parse import urljoin

import pytest

from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import PAGES, client_of

pytestmark = pytest.mark.django_db
MORE = (
    "/economics/",
    "/economics/?ratio=ratio_to_hindsight",
    "/savings/?replay=1",
    "/claims/",
)


class Charts(HTMLParser):
    """`found`: of each section with a chart, the links to its files and the cells of its table's body."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[dict[str, list[str]]] = []
        self.found: list[dict[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        if tag == "section":
            self.open.append({"figures": [], "files": [], "cells": []})
        elif self.open and held.get("data-figure"):
            self.open[-1]["figures"].append(str(held["data-figure"]))
        elif self.open and tag == "a" and "download" in held:
            self.open[-1]["files"].append(str(held["href"]))
        elif self.open and tag == "td":
            self.open[-1]["cells"].append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "section" and self.open:
            section = self.open.pop()
            self.found += [section] if section["figures"] else []


@pytest.fixture
def company() -> Company:
    return make_company()


def test_every_chart_on_every_page_has_a_table_and_its_rows_as_csv(company: Company) -> None:
    client, charts, missing = client_of("alice", company, "admin"), 0, []
    for page in (*PAGES, *MORE):
        answer = client.get(page)
        if answer.status_code != 200:
            missing.append((page, answer.status_code))
            continue
        parser = Charts()
        parser.feed(answer.content.decode())
        for chart in parser.found:
            charts += len(chart["figures"])
            if len(chart["files"]) != 1 or not chart["cells"]:
                missing.append((page, chart["figures"], chart["files"], len(chart["cells"])))
                continue
            file = client.get(urljoin(page, unescape(chart["files"][0])))
            rows = list(csv.reader(StringIO(file.content.decode())))
            if not file["Content-Type"].startswith("text/csv") or len(rows) < 2:
                missing.append((page, chart["files"], file["Content-Type"], len(rows)))
    assert missing == []
    assert charts > 30
