"""Switchyard's own settings: every default with its unit in its name and a reason beside it."""

import os
from typing import Any

from django.conf import settings  # lazy: nothing is read before somebody asks

SWITCHYARD_DEFAULTS: dict[str, Any] = {
    # Secrets: development values; prod.py refuses to start without real ones.
    "KEY_PEPPER": os.environ.get("SWITCHYARD_KEY_PEPPER", "development-only-pepper"),
    "SECRETS_KEYS": [k for k in os.environ.get("SWITCHYARD_SECRETS_KEYS", "").split(",") if k],
    # Snapshot: a publish must be seen in every process within 2 s, so look four times in that span.
    "SNAPSHOT_POLL_S": 0.5,
    "SNAPSHOT_STALE_S": 10.0,
    # Model servers. Memory that models may take together; 0 = four fifths of the machine or the container.
    "SERVING_MEMORY_BYTES": int(os.environ.get("SWITCHYARD_SERVING_MEMORY_BYTES", "0")),
    # The longest a caller waits who names no deadline of its own, and rows that may wait before 503.
    "SERVING_DEADLINE_S": 120.0,
    "SERVING_QUEUE_ROWS": 8192,
    # After SIGTERM, for what has begun: under the supervisor's own patience for them (2.5 s) where it is ours.
    "SERVING_DRAIN_S": float(os.environ.get("SWITCHYARD_SERVING_DRAIN_S", "2")),
    # How often a server looks for new versions of its models: a file's hash, half a millisecond.
    "SERVING_RELOAD_POLL_S": 2.0,
    # `required` serves nothing from the home that this installation didn't sign; `checked` refuses wrong signatures.
    "SERVING_SIGNATURES": os.environ.get("SWITCHYARD_SERVING_SIGNATURES", "checked"),
    # Upstream deadlines.
    "CONNECT_TIMEOUT_S": 3.0,
    "FIRST_TOKEN_TIMEOUT_S": 30.0,
    "IDLE_TIMEOUT_S": 20.0,
    "REQUEST_DEADLINE_S": 120.0,
    # Who carries calls to upstreams: `lean` (HTTP/1.1 on httptools, a fifth of the work), or `aiohttp`.
    "UPSTREAM_CLIENT": os.environ.get("SWITCHYARD_UPSTREAM_CLIENT", "lean"),
    # The proxy through which external deployments are asked (aiohttp only), as http://proxy.example:3128.
    "UPSTREAM_PROXY": os.environ.get("SWITCHYARD_UPSTREAM_PROXY", ""),
    # Health probes: how often each upstream's /models is asked by one of all processes; 0 = never.
    "PROBE_EVERY_S": 10.0,
    # Limits of a request body.
    "BODY_MAX_BYTES": 10 * 1024 * 1024,
    "BODY_MAX_DEPTH": 64,
    # What stands before a body: uvicorn bounds neither. A connection that nothing comes on counts as a slow head.
    "HEAD_MAX_BYTES": 64 * 1024,
    "HEAD_MAX_S": 30.0,
    # How long a caller may take over its body (of a file: over each mebibyte), and leave a piece of its stream untaken.
    "BODY_MAX_S": 60.0,
    "UNTAKEN_MAX_S": 30.0,
    "BATCH_MAX_ITEMS": 2048,
    # Lines of a batch that one worker has in flight: a waiting machine is used, a neighbour's live call still gets through.
    "BATCH_LINES_AT_ONCE": 8,
    # Files of /v1 that one line of business may keep at a time.
    "FILES_LOB_BYTES": 20 * 1024**3,
    # Larger uploads are examined in a process of their own: a minute of regular expressions is no neighbour for requests.
    "FILES_INLINE_BYTES": 256 * 1024,
    # The machine (by its name under Machines) that this process works on: jobs that it runs are booked at its rate.
    "NODE": os.environ.get("SWITCHYARD_NODE", ""),
    # Web processes: local limits without Valkey are divided by it.
    "PROCESSES": int(os.environ.get("PROCESSES", "1")),
    # Where pages, admin and REST are answered: unix:///path or http://host:port; empty: in the web process itself.
    "PAGES_URL": os.environ.get("SWITCHYARD_PAGES_URL", ""),
    # Admission.
    "RESERVATION_LEASE_S": 180,
    # Answers kept under an Idempotency-Key, and how long a second caller of a key waits for the first one's answer.
    "IDEMPOTENCY_TTL_S": 600,
    "IDEMPOTENCY_WAIT_S": 60.0,
    # Guard: how long a verdict may take before the guard counts as unavailable.
    "GUARD_TIMEOUT_MS": 50,
    # Graceful stop: less than the server's own patience (the supervisor gives it 4 s), or it cuts streams first.
    "DRAIN_S": float(os.environ.get("SWITCHYARD_DRAIN_S", "3")),
    # Jobs.
    "JOB_HEARTBEAT_S": 10,
    "JOB_LEASE_S": 60,
    "JOB_MAX_ATTEMPTS": 3,
    # A queued row that nobody took is told of again after this long: its message may have died with the broker.
    "JOB_WAKE_AGAIN_S": 300,
    # CIDRs of private networks that upstream URLs may name; empty refuses loopback and private addresses.
    "UPSTREAM_CIDRS": [],
    # Where people reach the pages: links in alerts begin with it.
    "PUBLIC_URL": "http://127.0.0.1:8000",
    # Answers kept (sealed) so that feedback by label can be judged later; never for restricted work.
    "SEALED_ANSWER_DAYS": 30,
    # Checkpoints that may be imported: DeepSeek-V3 has 689 GB in FP8. Bundles hold heads and models of ours.
    "IMPORT_MAX_BYTES": 1024**4,
    "BUNDLE_MAX_BYTES": 2 * 1024**3,
    # A verdict on fewer rows than this is "not_enough_data".
    "MIN_EVALUATED_ROWS": 30,
}

# What Django read of its settings so far; it forgets what is overridden. Asking the settings costs ten times as much.
_read: dict[str, Any] = object.__getattribute__(settings, "__dict__")


def conf(name: str) -> Any:
    """The value of one of our settings; an unknown name raises KeyError at once."""
    known = _read.get("SWITCHYARD")
    return known[name] if known is not None else settings.SWITCHYARD[name]
