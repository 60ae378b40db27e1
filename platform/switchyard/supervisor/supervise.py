"""`make run`: start every process in order, wait until each is ready, watch them, stop them without a trace."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from functools import partial

from switchyard.supervisor import plan, ports, prices, valkey
from switchyard.supervisor.children import Child, Spec
from switchyard.supervisor.console import say
from switchyard.supervisor.home import Home, StartRefused, read_json, write_private_json
from switchyard.supervisor.orphans import Watchdog
from switchyard.supervisor.readiness import first_answers, status_of

START_TIMEOUT_S = 180.0
STOP_BUDGET_S = 9.0
TICK_S = 0.1
MAX_START_FAILURES = 3
FREE_BYTES_NEEDED = 500 * 1024 * 1024


class Stopped(Exception):
    """Somebody asked us to stop."""


class Supervisor:
    """Owns the children of one home. Everything happens in the main thread."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.port = ports.read_port()
        self.children: list[Child] = []
        self.stop_requests = 0
        self.started_at = time.monotonic()
        self.demo = os.environ.get("DEMO", "1") != "0"
        self.with_history = self.demo and os.environ.get("SWITCHYARD_DEMO_HISTORY", "1") != "0"

    # ------------------------------------------------------------------ life
    def run(self) -> int:
        """Start, watch, stop. The exit status: 0 after a wished stop, 1 when it could not start."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        self.home.prepare()
        lock = self.home.lock()
        self.home.demo_json.unlink(missing_ok=True)
        ports.require_free(self.port)
        self._require_space()
        self.watchdog = Watchdog(self.home.demo_json)
        status = 0
        try:
            self._start()
            self._watch()
        except Stopped:
            pass
        except StartRefused as error:
            say(f"\n{error}")
            status = 1
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            say(f"\nThe disk that holds {self.home.root} is full. Free some space and start again.")
            status = 1
        finally:
            self._stop()
            self.watchdog.dismiss()
            lock.close()
        return status

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop_requests += 1

    def _require_space(self) -> None:
        free = shutil.disk_usage(self.home.root).free
        if free < FREE_BYTES_NEEDED:
            raise StartRefused(
                f"Only {free // 1_000_000} MB are free under {self.home.root}, {FREE_BYTES_NEEDED // 1_000_000} MB are "
                "needed. Free some space, or choose another folder: SWITCHYARD_HOME=/path make run."
            )

    # ------------------------------------------------------------------ start
    def _start(self) -> None:
        say(f"Switchyard starts in {self.home.root}")
        places = self._places()
        prices.write_sheet(self.home.price_sheet)
        self._start_store(places)
        self._launch(plan.model_servers(places))
        self._run_once(plan.bootstrap(places, empty=not self.demo), "tables and demonstration company")
        (self.home.run / "prometheus").mkdir(exist_ok=True)
        for old in (self.home.run / "prometheus").glob("*.db"):
            old.unlink()
        (self.home.run / "beat.pid").unlink(missing_ok=True)
        self._launch(plan.servers(places))
        self._wait_until_ready()
        self._announce(places)
        if self.demo:
            self._launch([plan.history(places, replay=self.with_history)])
        if self.with_history:
            say("The history of 14 days is replayed in the background; the pages fill while it runs.")

    def _places(self) -> plan.Places:
        kept = read_json(self.home.secrets_json)
        upstream_keys = kept.get("upstream_keys") or {}
        for side in ("private", "external"):
            upstream_keys.setdefault(side, f"up_{secrets.token_urlsafe(24)}")
        if kept.get("upstream_keys") != upstream_keys or "keys" not in kept:
            write_private_json(self.home.secrets_json, kept | {"upstream_keys": upstream_keys})
        private = ports.free_port(frozenset({self.port}))
        external = ports.free_port(frozenset({self.port, private}))
        url = os.environ.get("REDIS_URL") or f"unix://{self.home.socket_path()}"
        return plan.Places(
            self.home, self.port, private, external, url,
            upstream_keys["private"], upstream_keys["external"], plan.read_processes(), *plan.place_of_pages(self.home),
        )  # fmt: skip

    def _start_store(self, places: plan.Places) -> None:
        if os.environ.get("REDIS_URL"):
            say(f"  valkey: using REDIS_URL ({places.redis_url.split('@')[-1]})")
            return
        path = self.home.socket_path()
        if valkey.adoptable(path):
            say("  valkey: adopting the one that already runs for this folder")
            return
        self._launch([plan.store(places, path)])
        self._wait("valkey", lambda: valkey.answers(path), 30.0)

    def _launch(self, specs: Iterable[Spec]) -> None:
        for spec in specs:
            child = Child(spec, self.home.logs, self.watchdog)
            self.children.append(child)
            child.start()

    def _run_once(self, spec: Spec, title: str) -> None:
        self._launch([spec])
        child = self.children[-1]
        started = time.monotonic()
        while child in self.children:  # a bad end raises in the tick that sees it
            self._tick()
        say(f"  {title}: ready ({time.monotonic() - started:.1f} s)")

    def _wait_until_ready(self) -> None:
        for child in [c for c in self.children if c.spec.ready_url or c.spec.ready_line]:
            self._wait(child.spec.name, partial(_is_ready, child), START_TIMEOUT_S)
            child.settle()

    def _wait(self, name: str, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            self._tick()
            child = next(c for c in self.children if c.spec.name == name)
            if child.failures >= MAX_START_FAILURES:
                raise StartRefused(_last_words(child, f"ended {child.failures} times while starting"))
            if time.monotonic() > deadline:
                raise StartRefused(_last_words(child, f"wasn't ready within {timeout_s:.0f} s"))
        say(f"  {name}: ready ({time.monotonic() - self.started_at:.1f} s)")

    def _announce(self, places: plan.Places) -> None:
        """Each workload answers once, then demo.json is written and the way in is printed."""
        kept = read_json(self.home.secrets_json)
        examples = read_json(self.home.examples_json).get("examples", []) if self.demo else []
        deadline = time.monotonic() + 60
        while problems := first_answers(places.url, examples, kept.get("keys", {})):
            self._tick()
            if time.monotonic() > deadline:
                raise StartRefused("Not every workload answers:\n    " + "\n    ".join(problems))
            time.sleep(0.5)
        admin, keys = kept.get("admin", {}), kept.get("keys", {}) if self.demo else {}
        upstream_keys = {"private": places.private_key, "external": places.external_key}
        write_private_json(
            self.home.demo_json,
            {
                "url": places.url, "admin": admin, "keys": keys,
                "upstreams": places.upstreams, "upstream_keys": upstream_keys,
            },
        )  # fmt: skip
        say(f"\nSwitchyard is up after {time.monotonic() - self.started_at:.1f} s.\n")
        say(f"  Dashboard   {places.url}/")
        say(f"  Login       {admin.get('username', '')} / {admin.get('password', '')}")
        say(f"  API         {places.url}/v1 (keys below), {places.url}/api/v1")
        width = max((len(slug) for slug in keys), default=0)
        for slug, key in sorted(keys.items()):
            say(f"  {slug:<{width}}  {key}")
        say(
            f"\n  All of this is in {self.home.demo_json}; logs are in {self.home.logs}. Ctrl-C stops everything.\n"
        )

    # ------------------------------------------------------------------ watch
    def _watch(self) -> None:
        while True:
            self._tick()

    def _tick(self) -> None:
        """One look at everything; raises Stopped when a stop was asked for."""
        if self.stop_requests:
            raise Stopped
        for child in list(self.children):
            for line in child.log.errors():
                say(line)
            status = child.ended()
            if status is not None:
                self._after_end(child, status)
            elif child.start_again_at is not None and time.monotonic() >= child.start_again_at:
                child.start()
                child.settle()  # this time nobody waits for it
        time.sleep(TICK_S)

    def _after_end(self, child: Child, status: int) -> None:
        how = f"signal {-status}" if status < 0 else f"status {status}"
        if child.spec.restart:
            wait_s = child.plan_restart()
            say(f"{child.spec.name} ended ({how}); it starts again in {wait_s:.1f} s. Log: {child.log.path}")
            return
        self.children.remove(child)
        if child.spec.name == "history":
            if status == 0 and self.with_history:
                say("The history is in: reload the overview.")
            elif status != 0:
                say(
                    f"The history replay ended early ({how}); it goes on at the next start. Log: {child.log.path}"
                )
        elif status != 0:
            raise StartRefused(_last_words(child, f"ended ({how})"))

    # ------------------------------------------------------------------ stop
    def _stop(self) -> None:
        """Callers first, then the ledger, the model servers, the store; within ten seconds in all."""
        self.home.demo_json.unlink(missing_ok=True)
        if any(child.alive for child in self.children):
            say("\nStopping …")
        begun = time.monotonic()
        for phase in sorted({child.spec.phase for child in self.children}):
            together = [child for child in self.children if child.spec.phase == phase]
            for child in together:
                child.ask_to_stop()
            patience = max(child.spec.grace_s for child in together)
            deadline = min(time.monotonic() + patience, begun + STOP_BUDGET_S)
            while any(child.alive for child in together) and time.monotonic() < deadline:
                time.sleep(0.02)
            for child in together:
                if child.alive:
                    say(f"  {child.spec.name} took too long and was ended")
                child.end_now()
        if self.children:
            say(f"Stopped after {time.monotonic() - begun:.1f} s.")
        self.children.clear()


def _is_ready(child: Child) -> bool:
    if not child.alive:
        return False
    if child.spec.ready_url:
        return status_of(child.spec.ready_url) == 200
    return any(child.spec.ready_line in line for line in child.log.recent)


def _last_words(child: Child, what: str) -> str:
    lines = "\n".join(f"    {line}" for line in child.log.last(15))
    return f"{child.spec.name} {what}. Its last lines (log: {child.log.path}):\n{lines}"
