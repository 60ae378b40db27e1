"""A worker of batches in a process of its own, on a database file of its own, for a test that kills it.

    python -m tests.switchyard.gateway.batch_worker setup URL LINES   → a company and its batch: the ids of batch and job
    python -m tests.switchyard.gateway.batch_worker run JOB           → works on it until nothing of it waits
    python -m tests.switchyard.gateway.batch_worker reap              → what the schedule does: how many were woken
    python -m tests.switchyard.gateway.batch_worker book              → the ledger reads what was told to its stream
    python -m tests.switchyard.gateway.batch_worker told BATCH        → the batch, and its output file line by line

Reads DATABASE_URL, SWITCHYARD_HOME and REDIS_URL.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]


def set_up(url: str, lines: int) -> list[str]:
    from django.core.management import call_command

    from modelhub.services.files import keep_lines
    from switchyard.gateway.batches.handle import create
    from switchyard.gateway.snapshot import build_world
    from tests.fakes.gateway import make_company

    call_command("migrate", verbosity=0)
    company = make_company(url, url)
    body = {"model": "chatter", "max_tokens": 20}
    rows = (
        {"custom_id": f"line-{i}", "method": "POST", "url": "/v1/chat/completions",
         "body": body | {"messages": [{"role": "user", "content": f"Question {i}?"}]}}
        for i in range(lines)
    )  # fmt: skip
    file = keep_lines(
        company.service, "asks.jsonl", "batch", (json.dumps(row).encode() + b"\n" for row in rows)
    )
    assert file is not None
    key = next(key for key in build_world().keys.values() if key.lob == "customer-service")
    wish = {"input_file_id": file.pk, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = create(key, wish, "", "")
    return [made["id"], made["switchyard"]["job"]]


def run(job_id: str) -> None:
    from modelhub.tasks import run_job
    from switchyard.jobs.models import Job

    while Job.objects.get(pk=job_id).state == "queued":
        run_job(job_id)


def book() -> int:
    """Every event of the stream, as often as it was told."""
    import orjson
    import redis

    from costs.fresh import bodies_of
    from costs.metering import record_events

    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        entries = client.xrange("sy:usage")
    events = [orjson.loads(body) for _, fields in entries for body in bodies_of(fields)]
    record_events(events)
    return len(events)


def told(batch_id: str) -> dict[str, Any]:
    from modelhub.services.files import find, pieces_of
    from switchyard.gateway.batches.handle import as_object
    from switchyard.gateway.models import Batch

    batch = Batch.objects.get(pk=batch_id)
    content = b"".join(pieces_of(find(batch.lob_id, batch.output_file_id)))
    return {"batch": as_object(batch), "lines": [json.loads(line) for line in content.splitlines()],
            "cost_nusd": batch.cost_nusd}  # fmt: skip


def main(words: list[str]) -> None:
    import django

    django.setup()
    if words[0] == "setup":
        print(json.dumps(set_up(words[1], int(words[2]))))
    elif words[0] == "run":
        run(words[1])
    elif words[0] == "book":
        print(book())
    elif words[0] == "told":
        print(json.dumps(told(words[1])))
    else:
        from modelhub.tasks import reap

        print(reap())


if __name__ == "__main__":
    main(sys.argv[1:])
