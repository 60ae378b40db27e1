"""A vendor with files and fine-tuning of its own: jobs move on by `steps` calls, and misbehave on command."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

STAGES = ["validating_files", "queued", "running", "running", "running", "succeeded"]


@dataclass
class FakeVendor:
    """Started and stopped as a context manager; `url` ends in /v1."""

    key: str = "vendor-key"
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    broken: int = 0  # so many calls are answered with 500
    fail_with: str = ""
    knows_pause: bool = True
    frozen: bool = False  # a running job stays where it is
    url: str = ""

    def __enter__(self) -> FakeVendor:
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def _answer(self) -> None:
                body = self._body()
                parts = urlsplit(self.path)
                status, told = vendor.answer(
                    self.command,
                    parts.path,
                    parse_qs(parts.query),
                    {k.lower(): v for k, v in self.headers.items()},
                    body,
                )
                raw = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length") or 0))
                whole = b""
                while size := int(self.rfile.readline(), 16):
                    whole += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return whole

            do_GET = do_POST = do_DELETE = _answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], headers: dict[str, str], body: bytes
    ) -> Any:
        if headers.get("authorization") != f"Bearer {self.key}":
            return 401, {"error": {"message": "bad key"}}
        if self.broken:
            self.broken -= 1
            return 500, {"error": {"message": "a bad day"}}
        if path == "/v1/files" and method == "POST":
            return 200, self._take_file(body)
        if path == "/v1/files":
            rows = [{"id": i, "filename": name} for i, (name, _) in self.files.items()]
            return 200, {"data": rows, "has_more": False}
        if path.startswith("/v1/files/"):
            self.deleted.append(path.rpartition("/")[2])
            self.files.pop(self.deleted[-1], None)
            return 200, {"deleted": True}
        return self._tuning(method, path.removeprefix("/v1/fine_tuning/jobs"), query, body)

    def rows(self, file_id: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.files[file_id][1].splitlines()]

    def _take_file(self, body: bytes) -> dict[str, Any]:
        name = re.search(rb'filename="([^"]+)"', body)
        assert name is not None and b'name="purpose"\r\n\r\nfine-tune' in body
        boundary = body.split(b"\r\n", 1)[0]
        content = body.split(name.group(0), 1)[1].split(b"\r\n\r\n", 1)[1].split(b"\r\n" + boundary, 1)[0]
        file_id = f"file-{len(self.files) + len(self.deleted) + 1}"
        self.files[file_id] = (name.group(1).decode(), content)
        return {"id": file_id, "object": "file"}

    def _tuning(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> Any:
        if not path and method == "POST":
            return 200, self._create(json.loads(body))
        if not path:
            return 200, {"data": list(self.jobs.values())[::-1], "has_more": False}
        _, job_id, *tail = path.split("/")
        job = self.jobs.get(job_id)
        if job is None:
            return 404, {"error": {"message": f"no job {job_id}"}}
        if tail == ["events"]:
            return 200, {"data": self.events[job_id][::-1], "has_more": False}
        if tail == ["cancel"]:
            job |= {"status": "cancelled", "trained_tokens": 1000}
        elif tail and not self.knows_pause:
            return 404, {"error": {"message": f"no {tail[0]} here"}}
        elif tail == ["pause"]:
            job["status"] = "paused"
        elif tail == ["resume"]:
            job["status"] = "running"
        elif job["status"] not in ("cancelled", "paused", "failed", "succeeded"):
            self._move(job)
        return 200, job

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        job_id = f"ftjob-{len(self.jobs) + 1}"
        used = body["method"]["supervised"]["hyperparameters"]
        self.jobs[job_id] = {
            "id": job_id, "object": "fine_tuning.job", "status": "validating_files", "model": body["model"],
            "hyperparameters": used, "metadata": body.get("metadata"), "training_file": body["training_file"],
            "validation_file": body.get("validation_file"), "fine_tuned_model": None, "trained_tokens": None, "asked": body,
        }  # fmt: skip
        self.events[job_id], self.looks[job_id] = [], 0
        return self.jobs[job_id]

    def _move(self, job: dict[str, Any]) -> None:
        job_id = job["id"]
        if not (self.frozen and job["status"] == "running"):
            self.looks[job_id] += 1
        stage = STAGES[min(self.looks[job_id], len(STAGES) - 1)]
        job["status"] = stage
        if stage == "running":
            step = self.looks[job_id] - 1
            data = {"step": step, "total_steps": 3, "train_loss": 1 / step, "valid_loss": 1.5 / step}
            event = {
                "id": f"ev-{job_id}-{step}",
                "message": f"Step {step}/3",
                "data": data,
                "type": "metrics",
            }
            if event not in self.events[job_id]:
                self.events[job_id].append(event)
            if self.fail_with:
                job |= {"status": "failed", "error": {"code": "x", "message": self.fail_with}}
        if stage == "succeeded":
            epochs = 3 if job["hyperparameters"]["n_epochs"] == "auto" else job["hyperparameters"]["n_epochs"]
            job |= {
                "fine_tuned_model": f"ft:{job['model']}:acme::{job_id}", "trained_tokens": 5000 * epochs,
                "hyperparameters": job["hyperparameters"] | {"n_epochs": epochs},
            }  # fmt: skip
