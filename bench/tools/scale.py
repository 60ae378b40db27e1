"""Books of a given size, and how long what people wait for takes on them.

DATABASE_URL=postgres://… python -m bench.tools.scale ROWS → JSON as the last line. Thirty days of metered answers of six lines
of business, one transfer each (bench/tools/books.py); then roll-ups by the product's own code, `verify_books`, pages by
Django's client. What it is at is said on standard error.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import django

from bench.tools import pages
from bench.tools.books import DAYS, LOBS, load, told


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


def measure(total: int) -> dict[str, Any]:
    from django.core.management import call_command

    from costs import rollups
    from costs.ledger import trial_balance
    from costs.tasks import rebuild_counters

    call_command("migrate", verbosity=0)
    organisation, user = company()
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    told(f"{total:,} rows")
    out: dict[str, Any] = {"rows": total, "load_s": load(total, end, organisation.pk)}
    told(f"written in {out['load_s']:.0f} s; roll-ups")
    out["rollup_month_s"] = sum(_roll_up(end - timedelta(days=day)) for day in range(DAYS, -1, -1))
    out["verify_books_s"] = _verified(organisation.pk, total)
    busiest = (end - timedelta(days=1)).replace(hour=0)
    rebuild_counters()
    told("a day, an hour, a month again")
    out["rollup_day_s"] = [_rolled_up_anew(busiest) for _ in range(3)]
    out["rollup_day_again_s"] = timed(lambda: rollups.refresh(busiest, busiest + timedelta(hours=23)))
    out["rollup_hour_s"] = timed(lambda: rollups.refresh(end - timedelta(hours=1), end - timedelta(hours=1)))
    out["restate_month_s"] = restate(organisation, end)
    told("pages")
    pages.add_rare(organisation)
    out["pages_ms"], out["pages_first_ms"] = pages.measured(user)
    told(pages.table(out["pages_ms"], out["pages_first_ms"]))
    out["trial_balance_s"] = timed(lambda: trial_balance(organisation.pk))
    out["trial_balance_nusd"] = trial_balance(organisation.pk)
    return out


def _rolled_up_anew(day: datetime) -> float:
    """Seconds to make a day's roll-ups of which nothing is there: each row is computed and written."""
    from costs.models import SpendDay, SpendHour

    for model in (SpendHour, SpendDay):
        model.objects.filter(start__gte=day, start__lt=day + timedelta(days=1)).delete()
    return _roll_up(day)


def _roll_up(at: datetime) -> float:
    """A whole day; gives seconds."""
    from costs import rollups

    start = at.replace(hour=0)
    return timed(lambda: rollups.refresh(start, start + timedelta(hours=23)), 1)[0]


def _verified(organisation_id: int, total: int) -> list[float]:
    """How long `verify_books` takes. RuntimeError unless it finds nothing and the roll-ups hold what the ledger does."""
    from django.db.models import Sum

    from costs.books.verification import verify_books
    from costs.models import LedgerEntry, SpendDay, SpendHour

    findings: list[str] = []
    took = timed(lambda: findings.extend(verify_books(organisation_id)), 1)
    booked = LedgerEntry.objects.aggregate(n=Sum("amount_nusd"))["n"]
    rows = LedgerEntry.objects.count()
    rolled = [model.objects.aggregate(n=Sum("cost_nusd"))["n"] for model in (SpendHour, SpendDay)]
    if findings or rows != total or rolled != [booked, booked]:
        raise RuntimeError(
            f"{rows:,} rows of {booked} nano-dollars, rolled up as {rolled}; verify_books: {findings}"
        )
    return took


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
