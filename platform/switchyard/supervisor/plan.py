"""Which processes make up the product, with which commands and surroundings."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from switchyard.supervisor import priority, valkey
from switchyard.supervisor.children import Spec
from switchyard.supervisor.home import ROOT, Home, StartRefused
from switchyard.supervisor.ports import HOST

# Stopping goes from the callers to what they lean on: the ledger still hears what the web said last.
CALLERS, LEDGER, MODELS, STORE = range(4)
DRAIN_S = 4
PAGES_URL = "SWITCHYARD_PAGES_URL"


@dataclass(frozen=True)
class Places:
    """Where the parts of one run are found."""

    home: Home
    port: int
    private_port: int
    external_port: int
    redis_url: str
    private_key: str
    external_key: str
    processes: int = 1
    pages_url: str = ""  # where web finds the pages; empty: in itself
    pages_socket: Path | None = None  # of the pages process that we run; none: it isn't ours

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def upstreams(self) -> dict[str, str]:
        return {
            "private": f"http://{HOST}:{self.private_port}/v1",
            "external": f"http://{HOST}:{self.external_port}/v1",
        }


def read_processes() -> int:
    raw = os.environ.get("PROCESSES", "1")
    if not raw.isdigit() or not 1 <= int(raw) <= 64:
        raise StartRefused(f"PROCESSES={raw!r} is no number of web processes in 1..64.")
    return int(raw)


def place_of_pages(home: Home) -> tuple[str, Path | None]:
    """(address of the pages, socket of a process of ours): SWITCHYARD_PAGES_URL when it is set, even if empty."""
    told = os.environ.get(PAGES_URL)
    if told is not None:
        return told, None
    path = home.socket_path("pages.sock")
    return f"unix://{path}", path


def environment(places: Places) -> dict[str, str]:
    """What every process of ours is told."""
    paths = [str(ROOT), str(ROOT / "platform")]
    if inherited := os.environ.get("PYTHONPATH"):
        paths.append(inherited)
    threads = {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    return threads | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev"),
        "SWITCHYARD_HOME": str(places.home.root),
        "SWITCHYARD_UPSTREAM_CIDRS": os.environ.get("SWITCHYARD_UPSTREAM_CIDRS", "127.0.0.0/8"),
        "REDIS_URL": places.redis_url,
        "PORT": str(places.port),
        "TOKENIZERS_PARALLELISM": "false",
    }


def manage(*words: str) -> tuple[str, ...]:
    return (sys.executable, str(ROOT / "manage.py"), *words)


def store(places: Places, socket_path: Path) -> Spec:
    """The embedded Valkey."""
    command = tuple(valkey.command(socket_path, places.home.root / "valkey"))
    return Spec("valkey", command, phase=STORE, grace_s=1.5)


def model_servers(places: Places) -> list[Spec]:
    """Both sides: each with a port and a key of its own."""
    env = environment(places)
    sides = (
        ("private", places.private_port, places.private_key),
        ("external", places.external_port, places.external_key),
    )
    specs = []
    for side, port, key in sides:
        words = ["serve_models", "--side", side, "--port", str(port)]
        if side == "external":
            words += ["--prices", str(places.home.price_sheet)]
        specs.append(
            Spec(
                f"{side}-models",
                manage(*words),
                env | {"SWITCHYARD_UPSTREAM_KEY": key},
                phase=MODELS,
                grace_s=2.5,  # the stand-in still writes its bill
                ready_url=f"http://{HOST}:{port}/healthz",
            )
        )
    return specs


def bootstrap(places: Places, *, empty: bool) -> Spec:
    """Tables, then the demonstration company (or an empty installation)."""
    words = ["bootstrap", "--migrate"]
    for side, url in places.upstreams.items():
        words += [f"--{side}-url", url]
    if empty:
        words.append("--empty")
    keys = {
        "SWITCHYARD_PRIVATE_KEY": places.private_key,
        "SWITCHYARD_EXTERNAL_KEY": places.external_key,
    }
    return Spec("bootstrap", manage(*words), environment(places) | keys, restart=False)


def pages(places: Places) -> list[Spec]:
    """The pages process, when it is ours to run."""
    if places.pages_socket is None:
        return []
    words = ("serve_pages", "--socket", str(places.pages_socket), "--drain", str(DRAIN_S))
    return [
        Spec(
            "pages", manage(*words), environment(places), phase=CALLERS, grace_s=DRAIN_S + 0.5,
            ready_url=f"unix://{places.pages_socket}",
        )
    ]  # fmt: skip


def believed_proxies() -> tuple[str, ...]:
    """Whose X-Forwarded-* the web server takes for true: nobody's, unless FORWARDED_ALLOW_IPS names proxies."""
    return () if os.environ.get("FORWARDED_ALLOW_IPS") else ("--no-proxy-headers",)


def servers(places: Places) -> list[Spec]:
    """Web, pages, ledger, workers and beat, once the tables are there."""
    env = environment(places)
    web_env = env | {PAGES_URL: places.pages_url}
    if places.processes > 1:
        web_env["PROMETHEUS_MULTIPROC_DIR"] = str(places.home.run / "prometheus")
    celery = (sys.executable, "-m", "celery", "-A", "switchyard")
    quiet = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
    schedule = str(places.home.run / "beat.pid")
    return [
        Spec(
            "web",
            (
                sys.executable, "-m", "uvicorn", "switchyard.asgi:application",
                "--host", HOST, "--port", str(places.port), "--workers", str(places.processes),
                "--loop", "uvloop", "--http", "httptools", "--lifespan", "auto", "--no-access-log",
                "--no-server-header", "--timeout-graceful-shutdown", str(DRAIN_S), *believed_proxies(),
            ),
            web_env, phase=CALLERS, grace_s=DRAIN_S + 0.5, ready_url=f"{places.url}/readyz",
        ),
        *pages(places),
        Spec("ledger", manage("consume_usage"), env, phase=LEDGER, grace_s=2.0),
        Spec(
            "worker",
            (*celery, "worker", "-Q", "default", "-n", "worker@%h", "--concurrency", "1", *quiet),
            env, phase=CALLERS, grace_s=DRAIN_S, ready_line=" ready.", nice=priority.PAGES,
        ),
        Spec(
            "trainer",
            (*celery, "worker", "-Q", "training", "-n", "trainer@%h", "--pool", "solo", *quiet),
            env, phase=CALLERS, grace_s=DRAIN_S, ready_line=" ready.", nice=priority.TRAINING,
        ),
        Spec("beat", (*celery, "beat", "--pidfile", schedule, "--loglevel", "INFO"), env, phase=CALLERS),
    ]  # fmt: skip


def history(places: Places, *, replay: bool) -> Spec:
    """Behind everything else: how long an answer takes on each side, then fourteen days of traffic."""
    keys = {
        "SWITCHYARD_PRIVATE_KEY": places.private_key,
        "SWITCHYARD_EXTERNAL_KEY": places.external_key,
    }
    command = manage("replay_history" if replay else "measure_models")
    return Spec("history", command, environment(places) | keys, restart=False)
