"""What fits beside what: models are admitted by the memory they were measured to take, idle ones leave first."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from modelhub.serving.errors import OutOfMemory

SHARE = 0.8  # of the machine or the container, where no limit is set
GROWTH = 1.4  # a session takes about this many times its file before it was ever measured


@dataclass(slots=True)
class Tenant:
    """Something that takes memory: measured bytes, when it was last used, how many requests hold it now."""

    name: str
    needed: int
    drop: Callable[[], object]
    held: int = 0
    retired: bool = False
    last_used: float = field(default_factory=time.monotonic)


class Room:
    """Admits tenants under a limit; makes place by dropping those that nobody holds, least recently used first.

    Called from the computing thread only. Raises OutOfMemory, and then nothing was dropped in vain: either enough idle
    tenants leave, or none does.
    """

    def __init__(self, limit_bytes: int = 0) -> None:
        self.limit = limit_bytes or int(SHARE * machine_bytes())
        self._tenants: dict[str, Tenant] = {}

    @property
    def used(self) -> int:
        return sum(tenant.needed for tenant in self._tenants.values())

    @property
    def free(self) -> int:
        return max(0, self.limit - self.used)

    def bytes_of(self, name: str) -> int:
        tenant = self._tenants.get(name)
        return tenant.needed if tenant else 0

    def make_place(self, name: str, needed: int) -> list[str]:
        """Who was dropped, so that `needed` bytes are free for `name`."""
        idle = sorted(
            (t for t in self._tenants.values() if t.held == 0 and t.name != name), key=lambda t: t.last_used
        )
        free, leaving = self.free + self.bytes_of(name), []
        for tenant in idle:
            if free >= needed:
                break
            leaving.append(tenant)
            free += tenant.needed
        if free < needed:
            raise OutOfMemory(name, needed, self.free)
        for tenant in leaving:
            if tenant.name in self._tenants:  # an adapter may have left with its model
                self._go(tenant)
        return [tenant.name for tenant in leaving]

    def enter(self, name: str, needed: int, drop: Callable[[], object]) -> None:
        """Take the place that was made; `drop` lets it go when others need it."""
        self._tenants[name] = Tenant(name, needed, drop)

    def grew(self, name: str, more: int) -> None:
        """Its sessions took more while they ran."""
        if name in self._tenants and more > 0:
            self._tenants[name].needed += more

    def leave(self, name: str) -> None:
        self._tenants.pop(name, None)

    def use(self, name: str) -> None:
        if name in self._tenants:
            self._tenants[name].last_used = time.monotonic()

    def hold(self, name: str) -> None:
        """A request uses it until `release`: it isn't dropped meanwhile."""
        if name in self._tenants:
            self._tenants[name].held += 1
            self._tenants[name].last_used = time.monotonic()

    def release(self, name: str) -> None:
        tenant = self._tenants.get(name)
        if tenant is None:
            return
        tenant.held = max(0, tenant.held - 1)
        if tenant.retired and tenant.held == 0:
            self._go(tenant)

    @contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Held for as long as the block lasts."""
        self.hold(name)
        try:
            yield
        finally:
            self.release(name)

    def retire(self, name: str) -> None:
        """Something took its place: it goes as soon as nobody holds it."""
        tenant = self._tenants.get(name)
        if tenant is None:
            return
        tenant.retired = True
        if tenant.held == 0:
            self._go(tenant)

    def _go(self, tenant: Tenant) -> None:
        del self._tenants[tenant.name]
        tenant.drop()


def resident_bytes() -> int:
    """What this process holds in memory now; 0 where the system doesn't tell."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def machine_bytes() -> int:
    """Memory of the machine, or the container's limit where that is lower."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            found.append(int(Path(place).read_text()))
    return min(found)
