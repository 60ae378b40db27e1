"""The ledger process: read a group → one transaction → acknowledge. Nothing is popped, nothing counts twice."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import redis
from django.conf import settings
from django.db import DataError, IntegrityError, OperationalError, close_old_connections, transaction
from django.utils.translation import gettext as _
from redis.exceptions import RedisError, ResponseError

from costs import metering, rollups, spool
from costs.books import direct
from costs.fresh import STREAM, bodies_of
from costs.models import Alert
from routing.services import labels, records, told
from switchyard.core.bulk import collector_paused
from switchyard.core.clock import from_ns
from switchyard.gateway.pacing import Pace

log = logging.getLogger(__name__)
GROUP, DEAD = "ledger", "sy:usage:dead"
BLOCK_MS = 500
RECLAIM_IDLE_MS = 10_000
MARK_EVERY_S = 2.0
SPOOL_EVERY_S = 10.0
Event = Mapping[str, Any]
Bucket = tuple[int, datetime]


class Consumer:
    """`step()` does one round; `stop` ends `run()` after the batch at hand."""

    def __init__(self, url: str, *, name: str = "", home: Path | None = None) -> None:
        self.redis = redis.from_url(url, socket_timeout=5)
        self.name = name or f"consumer-{os.getpid()}"
        self.spool_folder = (home or Path(settings.HOME)) / "spool"
        self.stopping = False
        self._judged: set[Bucket] = set()
        self._rolled = self._spooled = self._reclaimed = 0.0
        self._pace = Pace()
        self._grouped = False

    def stop(self, *_: Any) -> None:
        self.stopping = True

    def run(self) -> None:
        """Until stopped. Valkey or the database being away is waited for; nothing is dropped meanwhile."""
        while not self.stopping:
            try:
                close_old_connections()
                self.step()
                time.sleep(self._pace.wait_s(time.monotonic()))
            except (RedisError, OperationalError, OSError) as error:
                log.warning("waiting for Valkey or the database: %s", error)
                self._grouped = False
                time.sleep(0.5)
        try:
            self.roll_up()
        except OperationalError as error:
            log.warning(
                "the last judgements count with the next of their hours, since the database is away: %s",
                error,
            )

    def step(self) -> int:
        """One read, recorded and acknowledged; judgements, mark and spools when they are due. Gives the events taken."""
        self._ensure_group()
        entries = self._pending() or self._new()
        began = time.monotonic()
        taken = self._take(entries) if entries else 0
        self._pace.took(began, len(entries), taken)
        now = time.monotonic()
        if now - self._rolled >= MARK_EVERY_S:
            self.roll_up()
        if now - self._spooled >= SPOOL_EVERY_S:
            self._spooled = now
            spool.replay(self.spool_folder, self._deliver)
        return taken

    def _ensure_group(self) -> None:
        if self._grouped:
            return
        try:
            self.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._grouped = True

    def _pending(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What another consumer, or this one before a crash, took and never acknowledged."""
        now = time.monotonic()
        if now - self._reclaimed < RECLAIM_IDLE_MS / 1000:
            return []
        self._reclaimed = now
        claimed = self.redis.xautoclaim(
            STREAM, GROUP, self.name, min_idle_time=RECLAIM_IDLE_MS, count=self._pace.entries
        )
        return [entry for entry in claimed[1] if entry[1]]

    def _new(self) -> list[tuple[bytes, dict[bytes, bytes]]]:
        read: Any = self.redis.xreadgroup(
            GROUP, self.name, {STREAM: ">"}, count=self._pace.entries, block=BLOCK_MS
        )
        return read[0][1] if read else []

    def _take(self, entries: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> int:
        count = self.deliver_bodies([fields for _, fields in entries])
        ids = [entry_id for entry_id, _ in entries]
        with self.redis.pipeline(transaction=True) as pipe:
            pipe.xack(STREAM, GROUP, *ids)
            pipe.xdel(STREAM, *ids)
            pipe.execute()
        return count

    def deliver_bodies(self, entries: Sequence[Mapping[bytes, bytes]]) -> int:
        """What can go the straight way goes there together, the rest, or all of it where that failed, the long way. Gives how
        many events the entries hold."""
        bodies = [body for fields in entries for body in bodies_of(fields)]
        left, events, bad = self.record_told(bodies), [], []
        for place in left:
            try:
                events.append(orjson.loads(bodies[place]))
            except orjson.JSONDecodeError as error:
                bad.append(({b"d": bodies[place]}, repr(error)))
        self._bury(bad)
        if events:
            self._deliver(events)
        return len(bodies)

    def record_told(self, bodies: Sequence[bytes]) -> Sequence[int]:
        """Usage events that are as they should be, straight into the tables in one transaction; gives the places of those which
        weren't recorded. Raises only when the database is away."""
        try:
            with collector_paused(), transaction.atomic():
                lines = direct.write(map(told.read_told, bodies), time.time_ns())
                told.write_decisions(lines.events)
        except OperationalError:
            raise
        except (IntegrityError, DataError) as error:
            log.info("a batch of %d events goes the long way: %.200s", len(bodies), error)
            return range(len(bodies))
        except Exception:
            log.exception("a batch of %d events can't go the straight way: it goes the long one", len(bodies))
            return range(len(bodies))
        return lines.odd

    def _deliver(self, events: Sequence[Any]) -> None:
        """Record them together, or one by one where one of them can't be: the good ones of a bad batch are kept, the others
        go to a stream of their own, with why and an alert. Raises only when the database is away."""
        good = [event for event in events if _readable(event)]
        bad = [(_fields(event), "no usage event") for event in events if not _readable(event)]
        try:
            self.record(good)
        except OperationalError:
            raise
        except Exception:
            log.exception("a batch of %d events failed: taking them one by one", len(good))
            bad += self._one_by_one(good)
        self._bury(bad)

    def _one_by_one(self, events: Iterable[Event]) -> list[tuple[dict[bytes, bytes], str]]:
        bad = []
        for event in events:
            try:
                self.record([event])
            except OperationalError:
                raise
            except Exception as error:
                log.exception("event %s can't be recorded", event.get("event_id"))
                bad.append((_fields(event), f"{error!r}{_book_alone(event)}"))
        return bad

    def _bury(self, bad: Sequence[tuple[dict[bytes, bytes], str]]) -> None:
        """What can't be recorded is kept where a person finds it, and somebody is told."""
        if not bad:
            return
        Alert.objects.bulk_create([_unreadable(fields, why) for fields, why in bad], ignore_conflicts=True)
        with self.redis.pipeline(transaction=True) as pipe:
            for fields, why in bad:
                entry: Any = {**fields, b"why": why.encode()[:500]}
                pipe.xadd(DEAD, entry, maxlen=10_000)
            pipe.execute()

    def record(self, events: Sequence[Event]) -> None:
        """Attempts, ledger, decisions and feedback of these events in one transaction."""
        if not events:
            return
        with transaction.atomic():
            metering.record_events([e for e in events if e["kind"] == "usage"])
            records.record_events(events)
        labels.charge_feedback(events)  # takes locks of its own; told again after a crash, it books once
        self._judged |= {
            (e["organisation_id"], _hour(from_ns(e["answered_at_ns"])))
            for e in events
            if e["kind"] != "usage"
        }

    def roll_up(self) -> None:
        """Judgements of the hours that were judged; money's sums are in the roll-ups since it was booked."""
        judged, self._judged = self._judged, set()
        self._rolled = time.monotonic()
        by_organisation: dict[int, list[datetime]] = defaultdict(list)
        for organisation_id, hour in judged:
            by_organisation[organisation_id].append(hour)
        try:
            for organisation_id, hours in by_organisation.items():
                judge(organisation_id, hours)
            rollups.mark()
        except OperationalError:
            self._judged |= judged
            raise


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _book_alone(event: Event) -> str:
    """Money first: an answer whose decision can't be recorded was answered all the same. Gives what to say of it."""
    try:
        booked = event["kind"] == "usage" and metering.record_events([event]).entries
    except OperationalError:
        raise
    except Exception:
        log.exception("event %s can't be booked either", event.get("event_id"))
        return ""
    return _("; its cost is booked") if booked else ""


def _readable(event: Any) -> bool:
    return isinstance(event, dict) and isinstance(event.get("kind"), str) and bool(event.get("event_id"))


def _fields(event: Any) -> dict[bytes, bytes]:
    return {b"d": orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS, default=str)}


def _unreadable(fields: Mapping[bytes, bytes], why: str) -> Alert:
    """One alert an event, whatever of it can be read."""
    body = fields.get(b"d", b"")
    name, organisation_id, lob = hashlib.sha256(body).hexdigest()[:16], 0, ""
    with contextlib.suppress(orjson.JSONDecodeError, AttributeError):
        told = orjson.loads(body)
        name = str(told.get("event_id") or name)
        organisation_id = told.get("organisation_id") if type(told.get("organisation_id")) is int else 0
        lob = str(told.get("lob") or "")
    return Alert(
        organisation_id=organisation_id if 0 <= organisation_id < 2**63 else 0, kind="event_rejected", lob=lob[:63],
        subject=name[:120], message=_told(name[:120], why)[:400],
        unique_key=f"event_rejected:{name}"[:160],
    )  # fmt: skip


def _told(name: str, why: str) -> str:
    """In the organisation's language: nobody reads while it is written."""
    words = _("Usage event %(name)s can't be recorded: %(why)s; it is kept in %(where)s.")
    return words % {"name": name, "why": why, "where": DEAD}


def stalled_s(url: str) -> float:
    """How long the group's readers have been away, in seconds; 0 while one reads. Raises RedisError."""
    client = redis.from_url(url, socket_timeout=5)
    try:
        client.ping()
        idle_ms = [int(reader["idle"]) for reader in client.xinfo_consumers(STREAM, GROUP)]
    except ResponseError:
        return 0.0  # nothing was ever sent: no stream yet
    finally:
        client.close()
    return min(idle_ms) / 1000 if idle_ms else 0.0


def judge(organisation_id: int, hours: Iterable[datetime]) -> None:
    """How many answers of whole hours were judged, and how many were right, into the roll-ups; idempotent."""
    spans = [(hour, hour + timedelta(hours=1)) for hour in sorted(hours)]
    rollups.record_judgements(records.judgements(organisation_id, spans))
