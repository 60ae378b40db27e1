"""The in-memory world: built from the database in a thread, swapped as a whole, polled by its version."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import close_old_connections, connection

from routing.contracts import KeyInfo, Snapshot
from routing.selectors.world import snapshot_of
from switchyard.core.clock import now_ns
from switchyard.core.conf import conf
from switchyard.tenancy.models import ConfigVersion, Organisation

log = logging.getLogger(__name__)
REBUILD_S = 60.0  # prices begin by themselves, qualities and usual times drift


@dataclass(frozen=True, slots=True)
class World:
    """Every organisation's snapshot, and every key."""

    version: int = 0
    loaded_ns: int = 0
    keys: Mapping[str, KeyInfo] = field(default_factory=dict)  # by digest
    organisations: Mapping[int, Snapshot] = field(default_factory=dict)


def build_world() -> World:
    """Read everything once. The version is read first, so that a change while reading is seen at the next poll."""
    row = ConfigVersion.objects.filter(pk=1).first()
    version, loaded = (row.version if row else 0), now_ns()
    keys: dict[str, KeyInfo] = {}
    snapshots = {}
    for organisation in Organisation.objects.all():
        snapshot = snapshot_of(organisation, version=version, loaded_ns=loaded)
        snapshots[organisation.pk] = snapshot
        keys.update(snapshot.keys)
    return World(version, loaded, keys, snapshots)


class SnapshotKeeper:
    """Holds the current World and keeps it current from a thread of its own."""

    def __init__(self) -> None:
        self.world = World()
        self.replaced: Callable[[], object] = (
            bool  # told, in the keeper's thread, that another world is in force
        )
        self.checked = 0.0  # monotonic time of the last look that worked
        self._built = 0.0
        self._failing_since = 0.0  # monotonic; 0 while looks work
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        self.world = build_world()
        self.checked = self._built = time.monotonic()
        self.replaced()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._keep, name="snapshot", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    @property
    def stale_s(self) -> float:
        return time.monotonic() - self.checked

    @property
    def away_s(self) -> float:
        """For how long the database hasn't answered, in seconds; 0 while it does. A look that hangs counts as well."""
        if self._failing_since:
            return time.monotonic() - self._failing_since
        stale_s = self.stale_s
        if stale_s <= 4 * conf("SNAPSHOT_POLL_S"):
            return 0.0
        return stale_s if stale_s > conf("SNAPSHOT_STALE_S") else 0.0

    def _keep(self) -> None:
        while not self._stop.wait(conf("SNAPSHOT_POLL_S")):
            try:
                close_old_connections()
                self.refresh()
                self._failing_since = 0.0
            except Exception:
                self._failing_since = self._failing_since or time.monotonic()
                log.exception("the snapshot could not be refreshed; the one at hand stays in force")

    def refresh(self) -> None:
        row = ConfigVersion.objects.filter(pk=1).values_list("version", flat=True).first()
        # This thread lives as long as the process, unlike those of requests (CONN_MAX_AGE 0): a new connection for each look
        # cost 8 ms of both processors twice a second. A broken one is still closed before the next look.
        connection.close_at = None
        if (row or 0) != self.world.version or time.monotonic() - self._built > REBUILD_S:
            self.load()
        self.checked = time.monotonic()
