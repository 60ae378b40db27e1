"""`manage.py policy_what_if legal@2 --days 7 [--against legal@1] [--show]`"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from routing.management.policies import PolicyCommand, person_named, version_named
from routing.whatif.services import latest, what_if
from switchyard.tenancy.models import Organisation


class Command(PolicyCommand):
    help = "Queue a replay of recorded requests under a version, or show the newest report."

    def add_own(self, parser: ArgumentParser) -> None:
        parser.add_argument("policy", help="An id, or org@3, legal@2.")
        parser.add_argument("--days", type=int, default=7)
        parser.add_argument(
            "--against", help="Another version of the same document; what is live when left out."
        )
        parser.add_argument(
            "--show", action="store_true", help="The newest report, without asking for another."
        )
        parser.add_argument("--by", help="User name.")

    def answer(self, organisation: Organisation, **options: Any) -> tuple[Any, list[str]]:
        policy = version_named(organisation, options["policy"])
        if options["show"]:
            found = latest(policy)
            if found is None:
                raise CommandError("There is no report of this version yet.")
            return {"id": found.pk, "report": found.report, "truth": found.truth}, lines_of(found.report)
        against = version_named(organisation, options["against"]) if options["against"] else None
        row, job = what_if(
            policy=policy,
            days=options["days"],
            against=against,
            user=person_named(organisation, options["by"]),
        )
        return {"job": job.pk, "what_if": row.pk}, [
            f"Queued as {job.pk}; `policy_what_if … --show` tells the report."
        ]


def lines_of(report: dict[str, Any]) -> list[str]:
    """The report's first page."""
    totals = report.get("totals") or {}
    cost, accuracy = totals.get("cost") or {}, totals.get("accuracy") or {}
    right = f"not enough data (n = {accuracy.get('n', 0)})"
    if accuracy.get("verdict") == "enough":
        bounds = f"{accuracy['low']:+.2%} … {accuracy['high']:+.2%}"
        right = f"{accuracy['before']:.1%} → {accuracy['after']:.1%} ({bounds}), n = {accuracy['n']}"
    return [
        f"requests          {report.get('requests')} ({report.get('from')} – {report.get('to')})",
        f"answered elsewhere {report.get('changed')}",
        f"cost              {cost.get('before_usd')} → {cost.get('after_usd')} USD, change {cost.get('change_usd')} "
        f"(90 %: {cost.get('low_usd')} … {cost.get('high_usd')})",
        f"accuracy          {right}",
        f"crossings         {(report.get('crossings') or {}).get('requests')}",
        *(f"mover             {m['workload']}: {m['from'] or 'nobody'} → {m['to'] or 'nobody'}, {m['requests']} requests, "
          f"{m['change_usd']} USD" for m in report.get("movers", [])[:10]),
        *(f"not enough data   {m['workload']} on {m['deployment']}: {m['what']}, {m['n']} of {m['needed']}"
          for m in report.get("not_enough", [])),
        *report.get("notes", []),
    ]  # fmt: skip
