"""Pages of money: how long each takes on books of any size, and somebody who looks at them without pause.

python -m bench.tools.pages BASE_URL SECONDS → {"looks", "failed"}: makes a person of its own in the database that the
environment names, and goes through pages one after another for as long as it is let live.
DATABASE_URL=postgres://… python -m bench.tools.pages books → every page's times on the books of bench.tools.scale, slowest first.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import django

HAMMERED = ("/", "/spend/", "/budgets/", "/ledger/", "/accuracy/")
REPEATS = 12
RARE = "rare-app"  # forty requests among however many
MEASURED = (
    "/", "/spend/?period=14d", "/spend/?period=month&group=application", "/spend/?period=14d&tz=Asia/Kolkata",
    "/spend/requests/", f"/spend/requests/?period=month&application={RARE}", "/spend/requests/?period=month&lob=legal",
    "/savings/", "/savings/?replay=1", "/forecast/", "/budgets/", "/statements/", "/statements/legal/{month}/",
    "/statements/legal/{month}/?basis=showback", "/lifetime/", "/break-even/", "/capacity/", "/economics/", "/ledger/?period=14d",
    "/ledger/?period=month&account=payable:ext-mini&purpose=answer", "/reconciliation/", "/prices/", "/machines/", "/accuracy/",
)  # fmt: skip


def measured(user: Any, repeats: int = REPEATS) -> tuple[dict[str, list[float]], dict[str, float]]:
    """(page → milliseconds of looks, page → of the first one, when nothing of it is kept). RuntimeError unless all are shown."""
    from django.test import Client

    client = Client()
    client.force_login(user)
    looks: dict[str, list[float]] = {}
    first: dict[str, float] = {}
    for page in (page.format(month=f"{datetime.now(UTC):%Y-%m}") for page in MEASURED):
        took = []
        for _ in range(1 + repeats):
            began = time.perf_counter()
            answer = client.get(page)
            took.append(1000 * (time.perf_counter() - began))
            if answer.status_code != 200:
                raise RuntimeError(f"{page}: {answer.status_code}")
        first[page], looks[page] = took[0], took[1:]
    return looks, first


def add_rare(organisation: Any) -> None:
    """Forty requests of an application that has no others, spread over a fortnight; once."""
    from costs import rollups
    from costs.books.writing import write_rows
    from costs.models import Attempt, LedgerEntry, SpendHour
    from switchyard.core.ids import new_id

    if SpendHour.objects.filter(organisation_id=organisation.pk, application=RARE).exists():
        return
    newest = datetime.now(UTC) - timedelta(days=10)
    attempts, entries = [], []
    for number in range(40):
        at = newest - timedelta(hours=8 * number, minutes=number)
        own = {
            "organisation_id": organisation.pk, "at": at, "lob": "legal", "application": RARE, "key_id": "key_1",
            "workload": "legal-first", "price_version": "price:1", "attempt": 0,
            "request_id": new_id("req", int(at.timestamp() * 1000)),
        }  # fmt: skip
        attempts.append(Attempt(
            **own, deployment="ext-mini", side="external", model="txt-edge", tokens_in=7, cost_nusd=700, input_nusd=700
        ))  # fmt: skip
        entries.append(LedgerEntry(
            **own, event_id=f"{own['request_id']}/0/0", recorded_at=at, debit="expense:lob:legal", credit="payable:ext-mini",
            amount_nusd=700, purpose="answer",
        ))  # fmt: skip
    write_rows(attempts, entries)
    for row in attempts:
        rollups.refresh(row.at, row.at)


def by_page(looks: Mapping[str, Sequence[float]]) -> list[tuple[str, float, float, float]]:
    """(page, median, 95th percentile, slowest look), the page with the largest 95th percentile first. Milliseconds."""
    found = [
        (page, statistics.median(ms), statistics.quantiles(ms, n=100, method="inclusive")[94], max(ms))
        for page, ms in looks.items()
    ]
    return sorted(found, key=lambda row: -row[2])


def table(looks: Mapping[str, Sequence[float]], first: Mapping[str, float]) -> str:
    lines = [f"{'page':66} {'p50':>7} {'p95':>7} {'slowest':>7} {'first':>7}  ms"]
    for page, median, high, slowest in by_page(looks):
        lines.append(f"{page:66} {median:7.1f} {high:7.1f} {slowest:7.1f} {first[page]:7.1f}")
    every = [ms for series in looks.values() for ms in series]
    lines.append(
        f"{'all looks':66} {statistics.median(every):7.1f} {statistics.quantiles(every, n=100)[94]:7.1f}"
    )
    return "\n".join(lines)


def books() -> None:
    """On the books that are there: the organisation and the person that bench.tools.scale made."""
    from switchyard.tenancy.models import Organisation, User

    add_rare(Organisation.objects.get(slug="scale"))
    looks, first = measured(User.objects.get(username="scale"))
    print(table(looks, first), file=sys.stderr)
    print(json.dumps({"pages_ms": looks, "pages_first_ms": first}))


def cookie() -> str:
    """A session of an administrator of the only organisation."""
    from django.test import Client

    from switchyard.tenancy.models import Organisation
    from tests import factories

    client = Client()
    client.force_login(factories.make_user(f"looker-{os.getpid()}", Organisation.objects.get(), "admin"))
    return f"sessionid={client.cookies['sessionid'].value}"


def look(base: str, seconds: float) -> dict[str, int]:
    headers, looks, failed, deadline = {"cookie": cookie()}, 0, 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        request = urllib.request.Request(base + HAMMERED[looks % len(HAMMERED)], headers=headers)
        looks += 1
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                answer.read()
                failed += "/login/" in answer.url
        except (urllib.error.URLError, OSError):
            failed += 1
    return {"looks": looks, "failed": failed}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    django.setup()
    if sys.argv[1] == "books":
        books()
    else:
        print(json.dumps(look(sys.argv[1], float(sys.argv[2]))))
