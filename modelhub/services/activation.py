"""Bringing expert counts home: fetched from the model servers window by window, each stored once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from django.db import transaction

from modelhub.models import ActivationSource, Deployment, ExpertActivation
from modelhub.models.activation import WIRE
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError, UpstreamFailure
from switchyard.core.fetching import fetch
from switchyard.tenancy.models import Workload

TIMEOUT_S, MAX_BYTES = 10.0, 64 * 2**20
MAX_LAYERS, MAX_EXPERTS, MOST_TOKENS = 512, 4096, 2**48


@dataclass(frozen=True, slots=True)
class Sum:
    """One sum of a window. Shapes: counts (L, E)."""

    model: str
    head: str
    label: str
    requests: int
    tokens: int
    counts: np.ndarray


def collect(organisation_id: int) -> int:
    """Fetch what the organisation's own servers counted since last time; gives how many windows were stored.

    A server that doesn't answer, or answers nonsense, has its fault noted and stops no other.
    """
    stored = 0
    servers = Deployment.objects.filter(organisation_id=organisation_id, side="private", enabled=True)
    keys = {d.base_url: d.api_key for d in servers.order_by("base_url")}
    for base_url, key in keys.items():
        source, _new = ActivationSource.objects.get_or_create(
            organisation_id=organisation_id, base_url=base_url
        )
        try:
            stored += store(source, _ask(base_url, key, source))
        except SwitchyardError as error:
            ActivationSource.objects.filter(pk=source.pk).update(fault=error.message[:300], read_at=now())
    return stored


def _ask(base_url: str, key: str, source: ActivationSource) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}", "accept": "application/json"}
    status, raw = fetch(
        base_url,
        f"/activations?after={source.window}&boot={source.boot}",
        headers=headers,
        leaves=False,
        timeout_s=TIMEOUT_S,
        max_bytes=MAX_BYTES,
    )
    if status in (404, 405, 501):
        raise UpstreamFailure(
            "The server keeps no activation log: it is not one of ours, or serves no experts."
        )
    if status != 200:
        raise UpstreamFailure(f"The server answered {status} to the request for its activation log.")
    if len(raw) > MAX_BYTES:
        raise UpstreamFailure(f"The activation log is larger than {MAX_BYTES // 2**20} MiB.")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UpstreamFailure("The activation log is not JSON.") from None
    if not isinstance(found, dict):
        raise UpstreamFailure("The activation log is not an object.")
    return found


@transaction.atomic
def store(source: ActivationSource, log: Mapping[str, Any]) -> int:
    """Add the windows that are new; the mark moves in the same transaction, so none counts twice.

    The mark is of one run of the server (`boot`); after a restart every window is new.
    Raises UpstreamFailure for a log that can't be right; nothing of it is stored then.
    """
    source = ActivationSource.objects.select_for_update().get(pk=source.pk)
    windows = sorted(_windows(log), key=lambda window: window[0])
    again = str(log.get("boot", ""))[:32]
    done = source.window if source.boot == again else 0
    fresh = [window for window in windows if window[0] > done]
    lobs = _lobs(source.organisation_id)
    for _number, day, sums in fresh:
        for one in sums:
            lob = lobs.get(one.head.partition("@")[0], "")
            add(organisation_id=source.organisation_id, lob=lob, source="serving", day=day, one=one)
    source.boot, source.read_at, source.fault = again, now(), ""
    source.window = max([done, *(number for number, _day, _sums in fresh)])
    source.dropped = int(log.get("dropped_windows") or 0)
    source.save()
    return len(fresh)


def add(*, organisation_id: int, lob: str, source: str, day: date, one: Sum) -> None:
    """Add a sum to the day's row. Call it inside a transaction: the row is locked until it ends."""
    layers, experts = one.counts.shape
    row, _new = ExpertActivation.objects.select_for_update().get_or_create(
        organisation_id=organisation_id, model=one.model, source=source, lob=lob, head=one.head, label=one.label[:120],
        day=day, layers=layers, experts=experts, defaults={"packed": np.zeros((layers, experts), WIRE).tobytes()},
    )  # fmt: skip
    row.packed = (row.counts + one.counts.astype(WIRE)).tobytes()
    row.requests += one.requests
    row.tokens += one.tokens
    row.save(update_fields=["packed", "requests", "tokens"])


@transaction.atomic
def record_training(*, organisation_id: int, lob: str, day: date, sums: Iterable[Sum]) -> int:
    """Counts of a training or fine-tuning run, under its line of business; gives how many sums were added."""
    number = 0
    for one in sums:
        add(organisation_id=organisation_id, lob=lob, source="training", day=day, one=one)
        number += 1
    return number


def _lobs(organisation_id: int) -> dict[str, str]:
    """Workload → line of business: a head is named after the one workload it answers."""
    rows = Workload.objects.filter(organisation_id=organisation_id)
    return dict(rows.values_list("name", "lob__slug"))


def _windows(log: Mapping[str, Any]) -> list[tuple[int, date, list[Sum]]]:
    try:
        return [
            (int(window["number"]), _day(float(window["started"])), [_sum(one) for one in window["sums"]])
            for window in log["windows"]
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UpstreamFailure(
            f"The activation log can't be read ({type(error).__name__}: {error})."
        ) from None


def _day(started: float) -> date:
    """The day of a window; a server whose clock is more than two days off is dated by ours."""
    moment = datetime.fromtimestamp(started, UTC)
    return moment.date() if abs(moment - now()) < timedelta(days=2) else now().astimezone(UTC).date()


def _sum(one: Mapping[str, Any]) -> Sum:
    counts = np.array(one["counts"], dtype=np.float64)
    if counts.ndim != 2 or not (0 < counts.shape[0] <= MAX_LAYERS and 0 < counts.shape[1] <= MAX_EXPERTS):
        raise ValueError(f"counts of shape {counts.shape} are no (layers, experts) table")
    if (
        not np.isfinite(counts).all()
        or (counts < 0).any()
        or counts.sum() > MOST_TOKENS
        or (counts % 1).any()
    ):
        raise ValueError("counts must be whole numbers >= 0 that a minute can hold")
    names = (str(one["model"])[:120], str(one["head"])[:63], str(one["label"])[:120])
    requests, tokens = int(one["requests"]), int(one["tokens"])
    if requests < 0 or tokens < 0:
        raise ValueError("requests and tokens must be >= 0")
    return Sum(*names, requests, tokens, counts.astype(WIRE))
