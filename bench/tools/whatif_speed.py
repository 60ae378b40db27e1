"""How many decision records a what-if replays a second, database included: python -m bench.tools.whatif_speed RECORDS → JSON.

A home of its own (SWITCHYARD_HOME), SQLite as on a laptop, records of a made company whose facts differ in size, difficulty,
domain and hour; one process. Ends with {"records", "seconds", "rows_per_s", "distinct", "read_s"}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from typing import Any

import django

DAYS = 14
DRAWN_PER_DAY = 300  # requests that are decided; each is told again with another id and moment
AT_ONCE = 5_000
COLUMNS = (
    "id", "request_id", "organisation_id", "at", "lob", "application", "key_id", "workload", "endpoint", "sensitivity", "side",
    "deployment", "model", "policy_version", "policy_hash", "status", "error_code", "cost_nusd", "other_side_cost_nusd",
    "latency_ms", "overhead_ms", "answers", "guard_verdict", "detail", "sealed_answers", "origin",
)  # fmt: skip


def main(records: int) -> dict[str, Any]:
    from django.core.management import call_command

    from routing.models import WhatIf
    from routing.whatif.job import report
    from switchyard.core.clock import now

    call_command("migrate", verbosity=0)
    policy = company()
    until = now()
    began = time.perf_counter()
    fill(policy.organisation_id, records, until - timedelta(days=DAYS))
    filled = time.perf_counter() - began
    row = WhatIf(
        id="wif_speed", policy=policy, days=DAYS, since=until - timedelta(days=DAYS), until=until, report={}
    )
    told = report(row)
    assert told["requests"] == records, (told["requests"], told["left_out"])
    return {
        "records": records, "seconds": told["seconds"], "rows_per_s": told["rows_per_s"], "distinct": told["distinct"],
        "crossings": told["crossings"]["requests"], "fill_s": round(filled, 1),
    }  # fmt: skip


def company() -> Any:
    """A line of business whose live policy keeps work at home, and the draft that is asked about."""
    from bench.tools import planted_policies as planted
    from routing.services.policies import create_draft
    from tests import factories

    organisation = factories.make_organisation(slug="speed")
    lob = factories.make_lob(organisation, planted.LOB)
    for name in ("answers", "summaries", "code"):
        factories.make_workload(lob, name, task="chat")
    for name, side in (
        ("private-mid", "private"),
        ("ext-strong", "external"),
        ("ext-small", "external"),
        ("ext-new", "external"),
    ):
        factories.make_deployment(organisation, name, side, tasks=["chat"])
    factories.make_policy(organisation)
    home = "rules: [{name: home, when: true, route: {prefer: [private-mid]}}]"
    factories.make_policy(organisation, home, lob)
    draft = """\
rules:
  - {name: stays, when: 'data.sensitivity >= confidential', route: {prefer: [private-mid]}}
  - {name: hard, when: 'request.difficulty >= 0.45', route: {prefer: [ext-strong, private-mid]}}
  - {name: evening, when: 'time.hour >= 18 && request.tokens_in > 120', route: {split: {ext-small: 0.3, ext-new: 0.7}}}
  - {name: rest, when: true, route: {choose: cheapest, among: [ext-small, ext-new, private-mid]}}
"""
    return create_draft(organisation=organisation, lob=lob, document=draft, user=None)


def fill(organisation_id: int, records: int, since: Any) -> None:
    """Some thousand requests of the made world, decided, and told again until there are enough."""
    import numpy as np
    from django.db import connection, transaction

    from bench.tools import planted_policies as planted

    random, world = np.random.default_rng(20_261), planted.made_world()
    mix = planted.usual_mix(world, DRAWN_PER_DAY, random)
    period = planted.live_period(
        world, planted.compiled(planted.policy_text([])), mix, first_day=0, days=DAYS, random=random
    )
    marks = ", ".join(["%s"] * len(COLUMNS))
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    statement = f"INSERT INTO routing_decisionrecord ({names}) VALUES ({marks})"
    step = timedelta(days=DAYS) / records
    waiting = []
    with transaction.atomic(), connection.cursor() as cursor:
        for number in range(records):
            _pk, _at, lob, workload, deployment, status, error, cost, ms, answers, detail = period.rows[
                number % period.requests
            ]
            waiting.append(
                (f"dec_{number:020d}", f"req_{number:020d}", organisation_id, since + number * step, lob, "", "", workload,
                 "chat/completions", "internal", "private", deployment, deployment, "org@1", "", status, error, cost, None, ms,
                 0.2, answers, "pass", detail.decode() if isinstance(detail, bytes) else detail, "", "live")
            )  # fmt: skip
            if len(waiting) == AT_ONCE:
                cursor.executemany(statement, waiting)
                waiting = []
        if waiting:
            cursor.executemany(statement, waiting)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    django.setup()
    print(json.dumps(main(int(sys.argv[1]))))
