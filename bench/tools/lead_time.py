"""How long rows take from upload to canary, through the real API and the real processes of `make run`.

    python -m bench.tools.lead_time --rows 5000 --repeats 3        → JSON: minutes by step

Rows are Banking77-like: texts of the shipped training split, each said again in as many ways as it takes to be that many
distinct rows. Upload, fine-tune by /v1, gates and canary by REST: what a person would do, at once after each step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bench.common import ROOT, Results, free_port

WORKLOAD, LOB = "support-intent", "customer-service"
START_S, TRAIN_S = 600.0, 3600.0
ROWS, REPEATS, MOST_MIN = 5000, 3, 15.0
OPENINGS = (
    "",
    "Hi, ",
    "Hello, ",
    "Please help: ",
    "Quick question. ",
    "Sorry to bother you, ",
    "Hey there, ",
    "Good day. ",
)
ENDINGS = ("", " Thanks.", " Thank you!", " Please advise.", " I need to know today.", " Can you help?")


def texts_of(count: int, seed: int) -> bytes:
    """JSON lines of distinct texts with the labels of the shipped training rows."""
    from modelhub.ml import datasets

    train = datasets.load(WORKLOAD, "train")
    draw, made, lines = random.Random(seed), set(), []
    while len(lines) < count:
        place = draw.randrange(len(train.texts))
        text = draw.choice(OPENINGS) + train.texts[place] + draw.choice(ENDINGS)
        if text.lower() not in made:
            made.add(text.lower())
            lines.append(json.dumps({"text": text, "label": train.labels[place]}))
    return "\n".join(lines).encode() + b"\n"


class Running:
    """`make run`'s processes with a home and a port of their own."""

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        environment = os.environ | {
            "SWITCHYARD_HOME": str(home), "PORT": str(self.port), "SWITCHYARD_DEMO_HISTORY": "0",
            "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8", "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        }  # fmt: skip
        self.log = (home / "bench.log").open("wb")
        command = [sys.executable, "-m", "switchyard.supervisor.cli", "run"]
        self.process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=self.log, stderr=self.log)
        until = time.monotonic() + START_S
        while not (home / "demo.json").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"it did not start: see {home}/bench.log")
            time.sleep(0.5)
        self.demo = json.loads((home / "demo.json").read_text())

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        token = self.demo["keys"][LOB] if path.startswith("/v1/") else self.demo["admin"]["token"]
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
        request = urllib.request.Request(self.demo["url"] + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=600) as reply:
                return json.loads(reply.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None


def rows_to_canary(count: int = 5000, *, seed: int = 0, running: Running | None = None) -> dict[str, Any]:
    """{"minutes", "candidate_minutes", "steps": {step: seconds since the one before}, "gates"} of one set of rows.

    Raises RuntimeError when a step fails. A gate that doesn't hold is overruled with a reason: what is measured is time.
    """
    if running is None:
        with tempfile.TemporaryDirectory() as home:
            own = Running(Path(home))
            try:
                return rows_to_canary(count, seed=seed, running=own)
            finally:
                own.stop()
    content = texts_of(count, seed)
    form = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="rows.jsonl"\r\n\r\n'
        + content
        + b"\r\n--b--\r\n"
    )
    began = time.monotonic()
    file = running.ask("POST", "/v1/files", form, "multipart/form-data; boundary=b")
    body = {"model": WORKLOAD, "training_file": file["id"], "seed": seed}
    job = running.ask("POST", "/v1/fine_tuning/jobs", body)["id"]
    _wait(lambda: _state(running, job))
    candidate_s = time.monotonic() - began
    version = running.ask("GET", f"/api/v1/jobs/{job}")["result"]["candidate"]
    gates = _judged(running, version)
    reason = "time is what is measured"
    canary = running.ask("POST", f"/api/v1/models/{version}/canary", {"percent": 10, "reason": reason})
    total_s = time.monotonic() - began
    running.ask(
        "POST", f"/api/v1/canaries/{canary['id']}/stop", {"reason": reason}
    )  # the next one needs the place
    lead = running.ask("GET", f"/api/v1/fine-tunes/{job}")["lead_time"]
    return {
        "minutes": round(total_s / 60, 2), "candidate_minutes": round(candidate_s / 60, 2), "rows": count, "seed": seed,
        "steps": {step["step"]: step["seconds"] for step in lead["steps"]}, "gates": gates,
    }  # fmt: skip


def _state(running: Running, job: str) -> bool:
    told = running.ask("GET", f"/v1/fine_tuning/jobs/{job}")
    if told["status"] in ("failed", "cancelled", "paused"):
        raise RuntimeError(f"the job is {told['status']}: {told['error'] or told['switchyard']['message']}")
    return told["status"] == "succeeded"


def _judged(running: Running, version: int) -> dict[str, str]:
    """Gate → verdict; the gates run by themselves after the fine-tune."""
    found: dict[str, str] = {}

    def there() -> bool:
        try:
            report = running.ask("GET", f"/api/v1/models/{version}/gates")
        except RuntimeError as error:
            if " 404 " in str(error):
                return False
            raise
        found.update({row["gate"]: row["verdict"] for row in report["results"]})
        return True

    _wait(there)
    return found


def _wait(done: Any) -> None:
    until = time.monotonic() + TRAIN_S
    while not done():
        if time.monotonic() > until:
            raise RuntimeError("it took more than an hour")
        time.sleep(0.5)


def bench_rows(results: Results) -> None:
    """`rows_to_canary_min` of 5,000 rows, three sets of them, and its steps beside."""
    with tempfile.TemporaryDirectory(prefix="lead-") as home:
        running = Running(Path(home))
        try:
            found = [rows_to_canary(ROWS, seed=seed, running=running) for seed in range(REPEATS)]
        finally:
            running.stop()
    told = found[0]["steps"]  # the first step has nothing before it
    steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in told.items() if seconds is not None)
    gates = ", ".join(f"{gate} {verdict}" for gate, verdict in sorted(found[0]["gates"].items()))
    how = (
        f"minutes from the upload of {ROWS:,} rows of {WORKLOAD} to a version that takes a share of the traffic, "
        f"through /v1 and REST of the processes of `make run`; {REPEATS} sets of rows; the first: {steps}; its gates: {gates}"
    )
    results.add("rows_to_canary_min", [one["minutes"] for one in found], "min", how, at_most=MOST_MIN)
    results.add("rows_to_candidate_min", [one["candidate_minutes"] for one in found], "min",
                "the same to a version that is trained and judged by its job", control=True)  # fmt: skip


rows = bench_rows  # the name that `bench.adapters` calls


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    asked = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    with tempfile.TemporaryDirectory() as home:
        running = Running(Path(home))
        try:
            found = [rows_to_canary(asked.rows, seed=seed, running=running) for seed in range(asked.repeats)]
        finally:
            running.stop()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
