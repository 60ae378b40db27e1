"""What went wrong with an upstream, in our words; both clients say the same."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from routing.contracts import DeploymentInfo
from routing.execution.base import AttemptFailed, Reply
from switchyard.core.errors import (
    UpstreamBusy,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamTimeout,
)

REFUSAL_MAX_BYTES = 20_000  # of a refusal that is read
LONGEST_REST_S = 3600.0  # as long as a breaker remembers (costs/admission.lua); then it is asked once more


def slow(target: DeploymentInfo) -> AttemptFailed:
    return AttemptFailed("timeout", UpstreamTimeout(f"{target.name} did not answer in time."))


def refused(target: DeploymentInfo, error: Exception) -> AttemptFailed:
    return AttemptFailed(
        "connect", UpstreamFailure(f"{target.name} can't be reached ({type(error).__name__}).")
    )


def broken(target: DeploymentInfo, error: Exception) -> AttemptFailed:
    return AttemptFailed(
        "status", UpstreamFailure(f"{target.name} broke off its answer ({type(error).__name__}).")
    )


def too_large(target: DeploymentInfo) -> AttemptFailed:
    return AttemptFailed("garbage", UpstreamFailure(f"{target.name} answered with more than 32 MiB."))


def failure(target: DeploymentInfo, status: int, headers: Mapping[str, str], text: bytes) -> AttemptFailed:
    """The server's refusal in our words; its own message only where the caller can mend something by it."""
    if status in (400, 413, 422):
        message = _message(text) or f"{target.name} refused the request."
        return AttemptFailed("rejected", UpstreamRejected(message, status=status), http_status=status)
    if status in (401, 403, 404):
        error: Any = UpstreamMisconfigured(f"{target.name} is misconfigured: its server answered {status}.")
        return AttemptFailed("misconfigured", error, http_status=status)
    wait = asked_to_wait(headers)
    if status in (429, 529) or (status == 503 and wait is not None):
        # Told how long, nobody asks it before: the rest is known to every process.
        busy = UpstreamBusy(f"{target.name} is busy.", retry_after_s=wait or 2.0)
        return AttemptFailed("busy", busy, http_status=status, retry_after_s=wait)
    if status in (408, 504):
        return AttemptFailed(
            "timeout", UpstreamTimeout(f"{target.name} did not answer in time."), http_status=status
        )
    return AttemptFailed(
        "status", UpstreamFailure(f"{target.name} failed with {status}."), http_status=status
    )


def _message(text: bytes) -> str:
    try:
        error = orjson.loads(text)["error"]
        return str(error["message"])[:500] if isinstance(error, dict) else str(error)[:500]
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return ""


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds, 1 to LONGEST_REST_S, by `retry-after-ms` (as OpenAI tells it more exactly) or Retry-After, a number or a date;
    None where the server said nothing that can be read."""
    for name, seconds in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        raw = headers.get(name)
        wait = _seconds(raw) if raw else None
        if wait is not None:
            return min(LONGEST_REST_S, max(1.0, wait * seconds))
    return None


def _seconds(raw: str) -> float | None:
    try:
        wait = float(raw)
    except ValueError:
        try:
            wait = parsedate_to_datetime(raw).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return None
    return wait if wait == wait else None


def decode(target: DeploymentInfo, reply: Reply) -> dict[str, Any]:
    """The server's JSON object, or AttemptFailed `garbage`."""
    try:
        value = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise AttemptFailed(
            "garbage", UpstreamFailure(f"{target.name} answered with something that is not JSON.")
        )
    return value
