"""How many usage events a second the ledger's consumer takes, and what it costs its own processor.

DATABASE_URL=… python -m bench.tools.ingest EVENTS REPEATS → JSON as the last line. Events are as the gateway writes them, JSON
in hand as the stream gives them; parsing counts. `money`: attempts and transfers; `whole`: decisions and roll-up marks too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import django
import orjson

BATCH = 1000  # as the consumer reads


def events(count: int, organisation_id: int, seed: int) -> list[bytes]:
    """Answers of six lines of business spread over the last hours, with facts, trace and candidates as a policy of six rules
    leaves them: about 2.5 kB each."""
    from bench.tools.scale import combos
    from switchyard.core.ids import new_id

    names = combos()
    start_ms = int((datetime.now(UTC) - timedelta(hours=3)).timestamp() * 1000)
    trace = [
        {"rule": f"case {i}", "matched": i == 5, "reason": "workload.tier == 'edge' is false"}
        for i in range(6)
    ]
    found = []
    for number in range(count):
        combo = names[(number * 7 + seed) % len(names)]
        at_ms = start_ms + number * 9_000_000 // count
        request_id, at_ns, cost = new_id("req", at_ms), at_ms * 1_000_000, 4_000 + number % 1000
        private = combo["side"] == "private"
        attempt = {
            "attempt": 0, "deployment": combo["deployment"], "side": combo["side"], "model": combo["model"],
            "node": combo["node"], "status": "ok", "error": "", "at_ns": at_ns, "duration_ms": 5.5, "tokens_in": 60,
            "tokens_out": 1, "cached_tokens_in": 0, "reasoning_tokens": 0, "accelerator_ns": 5_000_000 * private,
            "usage_source": "reported", "price_version": combo["price_version"], "cost_nusd": cost, "http_status": 200,
            "legs": {"compute" if private else "input": cost},
        }  # fmt: skip
        found.append(orjson.dumps({
            "kind": "usage", "event_id": request_id, "request_id": request_id, "decision_id": f"dec_{request_id[4:]}",
            "at_ns": at_ns, "origin": "live", "organisation_id": organisation_id, "lob": combo["lob"],
            "application": combo["application"], "key_id": combo["key_id"], "workload": combo["workload"],
            "task": "classification", "tier": "edge", "endpoint": "classifications", "stream": False,
            "sensitivity": "internal", "side": combo["side"], "deployment": combo["deployment"], "model": combo["model"],
            "policy_version": "pol_1", "policy_hash": "f" * 16, "rule": "case 5", "status": 200, "error_code": "",
            "cost_nusd": cost, "other_side_cost_nusd": 2 * cost, "other_side_deployment": "other", "latency_ms": 7.1,
            "overhead_ms": 0.6, "answers": 1, "cache": "", "trace": trace, "attempts": [attempt],
            "facts": {"request": {"tokens_in": 60, "language": "en", "difficulty": 0.2}, "data": {"sensitivity": "internal",
                      "entities": []}, "workload": {"name": combo["workload"], "tier": "edge"}, "budget": {"used_pct": 3.2}},
            "candidates": [{"deployment": "ext-mini", "side": "external", "eligible": True, "reasons": [], "cost_nusd": 9000}],
            "prices": {"version": combo["price_version"]}, "guard": {"verdict": "pass", "mode": "observe"},
            "sealed_answers": "", "confidence": 0.93, "shadow": None,
        }))  # fmt: skip
    return found


def timed(bodies: list[bytes], record: Any) -> tuple[float, float]:
    """(events a second, microseconds of this process's own CPU an event)."""
    began, cpu = time.perf_counter(), time.process_time()
    for first in range(0, len(bodies), BATCH):
        record([orjson.loads(body) for body in bodies[first : first + BATCH]])
    wall = time.perf_counter() - began
    return len(bodies) / wall, 1e6 * (time.process_time() - cpu) / len(bodies)


def measure(count: int, repeats: int) -> dict[str, Any]:
    from django.conf import settings
    from django.core.management import call_command

    from costs import metering
    from costs.ledger import trial_balance
    from costs.models import Attempt, LedgerEntry
    from switchyard.gateway.consumer import Consumer
    from tests import factories

    call_command("migrate", verbosity=0)
    organisation = factories.make_organisation(slug="ingest")
    whole = Consumer(settings.REDIS_URL).record
    series: dict[str, list[tuple[float, float]]] = {"money": [], "whole": []}
    timed(events(2_000, organisation.pk, 0), whole)  # connections, partitions, plans
    for number in range(repeats):
        for name, record in (("money", metering.record_events), ("whole", whole)):
            series[name].append(timed(events(count, organisation.pk, number), record))
    wanted = 2_000 + 2 * repeats * count
    booked = (Attempt.objects.count(), LedgerEntry.objects.count())
    if booked != (wanted, wanted):
        raise RuntimeError(f"{wanted} events were taken, but {booked} attempts and entries are there.")
    return {
        "series": {n: {"per_s": [s[0] for s in v], "cpu_us": [s[1] for s in v]} for n, v in series.items()},
        "trial_balance_nusd": trial_balance(organisation.pk),
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    django.setup()
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
