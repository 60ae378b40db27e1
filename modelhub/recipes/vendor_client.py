"""A vendor's own /v1/files and /v1/fine_tuning, over the deployment's base URL and key."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

from modelhub.models import Deployment
from modelhub.services.registration import checked_base_url
from modelhub.services.upstream_headers import known_by, path_at
from switchyard.core.addresses import AddressRefused
from switchyard.core.errors import UpstreamFailure, UpstreamMisconfigured, UpstreamRejected
from switchyard.core.reaching import reach

TIMEOUT_S = 60
ANSWER_MAX_BYTES = 32 * 1024 * 1024
BOUNDARY = "switchyard-rows-7d1f0a5c"
PAGES = 20


class Vendor:
    """One deployment's vendor. Every call raises UpstreamFailure, UpstreamMisconfigured (key), UpstreamRejected (400s)."""

    def __init__(self, deployment: Deployment) -> None:
        self.name = deployment.name
        self._url = checked_base_url(deployment.base_url)
        self._known_by = known_by(deployment.api_key, deployment.headers)
        self._leaves = deployment.side == "external"

    # ------------------------------------------------------------------ files
    def upload(self, filename: str, rows: Iterable[bytes]) -> str:
        """Send lines as a file for fine-tuning; gives its id. The bytes are sent as they are read."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
            "Content-Type: application/jsonl\r\n\r\n"
        ).encode()

        def body() -> Iterator[bytes]:
            yield head
            yield from rows
            yield f"\r\n--{BOUNDARY}--\r\n".encode()

        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return str(self._ask("POST", "/files", body(), headers)["id"])

    def find_file(self, filename: str) -> str:
        """The id of a file of that name that was sent before; empty when there is none."""
        found = (row for row in self._pages("/files?purpose=fine-tune&") if row.get("filename") == filename)
        return str(next(found, {}).get("id", ""))

    def delete_file(self, file_id: str) -> None:
        self._ask("DELETE", f"/files/{quote(file_id, safe='')}")

    # ------------------------------------------------------------------ jobs
    def create(self, body: dict[str, Any], key: str) -> dict[str, Any]:
        """Start a job; the same key again is the same job where the vendor knows keys."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        return self._ask("POST", "/fine_tuning/jobs", [json.dumps(body).encode()], headers)

    def find_job(self, metadata: tuple[str, str]) -> dict[str, Any] | None:
        """A job that was started before with this pair in its metadata."""
        name, value = metadata
        for row in self._pages("/fine_tuning/jobs?"):
            if (row.get("metadata") or {}).get(name) == value:
                return row
        return None

    def job(self, job_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/fine_tuning/jobs/{quote(job_id, safe='')}")

    def act(self, job_id: str, action: str) -> dict[str, Any]:
        """`cancel`, `pause` or `resume`."""
        return self._ask("POST", f"/fine_tuning/jobs/{quote(job_id, safe='')}/{action}")

    def events(self, job_id: str, seen: set[str]) -> list[dict[str, Any]]:
        """Events that weren't seen yet, oldest first; they are seen from now on."""
        path = f"/fine_tuning/jobs/{quote(job_id, safe='')}/events?"
        fresh = []
        for row in self._pages(path):
            if str(row.get("id")) in seen:
                break
            fresh.append(row)
        seen.update(str(row.get("id")) for row in fresh)
        return fresh[::-1]

    # ------------------------------------------------------------------ http
    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        after = ""
        for _ in range(PAGES):
            page = self._ask("GET", f"{path}limit=100" + (f"&after={quote(after, safe='')}" if after else ""))
            rows = page.get("data") or []
            yield from rows
            if not page.get("has_more") or not rows:
                return
            after = str(rows[-1].get("id"))

    def _ask(
        self,
        method: str,
        path: str,
        body: Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            connection, prefix, more = reach(self._url, timeout_s=TIMEOUT_S, leaves=self._leaves)
        except ValueError as error:
            raise UpstreamMisconfigured(f"{self.name}: {error}") from None
        told = self._known_by | {"Accept": "application/json"} | (headers or {}) | more
        where = prefix + path_at(self._url, path)
        try:
            connection.request(method, where, body=body, headers=told, encode_chunked=body is not None)
            reply = connection.getresponse()
            raw = reply.read(ANSWER_MAX_BYTES + 1)
        except (OSError, http.client.HTTPException, AddressRefused) as error:
            raise UpstreamFailure(f"{self.name} can't be reached: {error}.") from None
        finally:
            connection.close()
        return self._answer(reply.status, raw)

    def _answer(self, status: int, raw: bytes) -> dict[str, Any]:
        try:
            told = json.loads(raw)
            assert isinstance(told, dict)
        except (ValueError, AssertionError):
            told = None
        if 200 <= status < 300 and told is not None:
            return told
        error = (told or {}).get("error") or {}
        words = str(error.get("message") or f"status {status}") if isinstance(error, dict) else str(error)
        if status in (401, 403):
            raise UpstreamMisconfigured(f"{self.name} refuses its key: {words[:300]}")
        if status in (400, 404, 409, 413, 422):
            raise UpstreamRejected(f"{self.name} refuses: {words[:300]}")
        raise UpstreamFailure(f"{self.name} answered with {status}: {words[:300]}")
