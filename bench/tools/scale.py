"""Books of a given size, and how long what people wait for takes on them.

DATABASE_URL=postgres://… python -m bench.tools.scale ROWS → JSON as the last line. Thirty days of metered answers of six lines
of business, one transfer each, written as rows; then roll-ups by the product's own code, pages by Django's client.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import django

DAYS = 30
CHUNK = 100_000
PAGE_REPEATS = 12
PAGES = (
    "/", "/spend/?period=14d", "/spend/?period=month&group=application", "/spend/requests/", "/savings/", "/forecast/",
    "/budgets/", "/statements/", "/lifetime/", "/break-even/", "/capacity/", "/economics/", "/ledger/?period=14d",
    "/reconciliation/", "/prices/", "/machines/", "/accuracy/",
)  # fmt: skip
SHARE_BY_HOUR = [2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 9, 8, 9, 10, 10, 9, 7, 5, 4, 4, 3, 3, 2]
LOBS = ("customer-service", "legal", "healthcare", "manufacturing", "supply-chain", "engineering")


def combos() -> list[dict[str, Any]]:
    """What stays the same over many rows: names, side, deployment, price version."""
    found = []
    for number, lob in enumerate(LOBS):
        for workload in ("first", "second"):
            for side in ("private", "external"):
                private = side == "private"
                found.append({
                    "lob": lob, "application": f"{lob}-app", "key_id": f"key_{number}", "workload": f"{lob}-{workload}",
                    "side": side, "deployment": "private-sparse" if private else "ext-mini",
                    "model": "txt-base" if private else "txt-edge", "node": "node-1" if private else "",
                    "price_version": "node:1@x" if private else "price:1",
                })  # fmt: skip
    return found


def rows(total: int, end: datetime, organisation_id: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(attempt, transfer), oldest first: a month with days and nights."""
    from switchyard.core.ids import new_id

    dice, names = random.Random(20_260), combos()
    start = (end - timedelta(days=DAYS)).replace(minute=0, second=0, microsecond=0)
    weights = [SHARE_BY_HOUR[(start + timedelta(hours=h)).hour] for h in range(DAYS * 24)]
    whole, carried = sum(weights), 0.0
    for hour, weight in enumerate(weights):
        carried += total * weight / whole
        count, carried = int(carried), carried - int(carried)
        first_ms = int((start + timedelta(hours=hour)).timestamp() * 1000)
        for place in range(count):
            at_ms = first_ms + place * 3_600_000 // count
            combo = dice.choice(names)
            tokens, private = dice.randint(20, 400), combo["side"] == "private"
            cost = tokens * (40 if private else 90)
            request_id, at = new_id("req", at_ms), datetime.fromtimestamp(at_ms / 1000, UTC)
            shared = {"organisation_id": organisation_id, "at": at, "request_id": request_id, "attempt": 0}
            own = {n: combo[n] for n in ("lob", "application", "key_id", "workload", "price_version")}
            attempt = combo | shared | {
                "tokens_in": tokens, "tokens_out": 1, "cost_nusd": cost, "other_side_cost_nusd": cost * 2,
                "accelerator_ns": tokens * 30_000 if private else 0, "duration_ms": 5.5,
                "compute_nusd" if private else "input_nusd": cost,
            }  # fmt: skip
            entry = own | shared | {
                "event_id": f"{request_id}/0/0", "recorded_at": at, "debit": f"expense:lob:{combo['lob']}",
                "credit": "absorbed:node-1" if private else "payable:ext-mini", "amount_nusd": cost, "purpose": "answer",
            }  # fmt: skip
            yield attempt, entry


def load(total: int, end: datetime, organisation_id: int) -> float:
    """Write the rows through the product's own bulk writer; gives seconds."""
    from costs.books.writing import write_rows
    from costs.models import Attempt, LedgerEntry

    began = time.perf_counter()
    attempts: list[Attempt] = []
    entries: list[LedgerEntry] = []
    for attempt, entry in rows(total, end, organisation_id):
        attempts.append(Attempt(**attempt))
        entries.append(LedgerEntry(**entry))
        if len(attempts) >= CHUNK:
            write_rows(attempts, entries)
            attempts, entries = [], []
    write_rows(attempts, entries)
    return time.perf_counter() - began


def company() -> Any:
    """What pages need to exist: an organisation with its lines of business, a node, a sheet, budgets, somebody to look."""
    from tests import factories as make

    organisation = make.make_organisation(slug="scale")
    for slug in LOBS:
        lob = make.make_lob(organisation, slug)
        make.make_application(lob, f"{slug}-app")
        for workload in ("first", "second"):
            make.make_workload(lob, f"{slug}-{workload}", task="classification", tier="edge")
        make.make_budget(organisation, f"lob:{slug}", usd="1000000", period="month", action="warn")
    node = make.make_node(organisation, "node-1")
    node.created_at = datetime.now(UTC) - timedelta(days=DAYS + 1)
    node.save()
    make.make_price(organisation, "ext-mini")
    return organisation, make.make_user("scale", organisation, "admin")


def timed(what: Callable[[], Any], repeats: int = 3) -> list[float]:
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        what()
        took.append(time.perf_counter() - began)
    return took


def pages(user: Any) -> dict[str, list[float]]:
    """Milliseconds of each page, the first (cold) look left out."""
    from django.test import Client

    client = Client()
    client.force_login(user)
    found: dict[str, list[float]] = {}
    for address in (*PAGES, f"/statements/legal/{datetime.now(UTC):%Y-%m}/"):
        answer = client.get(address)
        if answer.status_code != 200:
            raise RuntimeError(f"{address}: {answer.status_code}")
        took = timed(lambda a=address: client.get(a), PAGE_REPEATS)  # type: ignore[misc]
        found[address] = [1000 * s for s in took]
    return found


def measure(total: int) -> dict[str, Any]:
    from django.core.management import call_command
    from django.db import connection

    from costs import rollups
    from costs.ledger import trial_balance

    call_command("migrate", verbosity=0)
    organisation, user = company()
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    out: dict[str, Any] = {"rows": total, "load_s": load(total, end, organisation.pk)}
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    began = time.perf_counter()
    day = end - timedelta(days=DAYS)
    while day < end:
        rollups.refresh(day, day + timedelta(days=1) - timedelta(seconds=1))
        day += timedelta(days=1)
    out["rollup_month_s"] = time.perf_counter() - began
    busiest = (end - timedelta(days=1)).replace(hour=0)
    out["rollup_day_s"] = timed(lambda: rollups.refresh(busiest, busiest + timedelta(hours=23)))
    out["rollup_hour_s"] = timed(lambda: rollups.refresh(end - timedelta(hours=1), end - timedelta(hours=1)))
    out["restate_month_s"] = restate(organisation, end)
    out["pages_ms"] = pages(user)
    out["trial_balance_s"] = timed(lambda: trial_balance(organisation.pk))
    out["trial_balance_nusd"] = trial_balance(organisation.pk)
    return out


def restate(organisation: Any, end: datetime) -> list[float]:
    """Close the month's hours, then state them anew at another rate, three times."""
    from decimal import Decimal

    from costs.models import Node
    from costs.nodes.changes import change_cost
    from costs.nodes.intervals import close_intervals

    start = end - timedelta(days=DAYS)
    close_intervals(organisation.pk, start, end)
    took = []
    for cents in (11, 12, 13):
        node = Node.objects.get(organisation=organisation, name="node-1")
        values = {"usd_per_hour": Decimal(cents) / 100}
        took += timed(
            lambda n=node, v=values: change_cost(node=n, values=v, valid_from=start, reason="benchmark", actor=None), 1  # type: ignore[misc]
        )  # fmt: skip
    return took


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(100 * share) - 1]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    django.setup()
    print(json.dumps(measure(int(sys.argv[1]))))
