"""Whether a server says it is ready, and one real answer per workload before the product is announced."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit


def status_of(url: str, timeout_s: float = 2.0) -> int:
    """The HTTP status of a GET, 0 when nobody answers. unix:///path asks the server at that socket for /healthz."""
    return _call("GET", url, None, {}, timeout_s)[0]


def post(url: str, body: dict[str, Any], key: str, timeout_s: float = 30.0) -> tuple[int, str]:
    """(status, text) of a JSON POST with a bearer key; (0, why) when nobody answers."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    return _call("POST", url, json.dumps(body).encode(), headers, timeout_s)


def _call(
    method: str, url: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> tuple[int, str]:
    parts = urlsplit(url)
    path = parts.path or "/"
    connection = http.client.HTTPConnection(parts.hostname or "localhost", parts.port, timeout=timeout_s)
    try:
        if parts.scheme == "unix":
            connection.sock, path = _connected(path, timeout_s), "/healthz"
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(1 << 20).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()


def _connected(path: str, timeout_s: float) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    found.settimeout(timeout_s)
    try:
        found.connect(path)
    except OSError:
        found.close()
        raise
    return found


def first_answers(url: str, examples: list[dict[str, Any]], keys: dict[str, str]) -> list[str]:
    """Ask each workload once. A sentence for each that gave no answer.

    `examples`: {"workload", "lob", "path" such as /v1/classifications, "body"}.
    """
    problems = []
    for example in examples:
        status, text = post(url + example["path"], example["body"], keys.get(example["lob"], ""))
        if status != 200:
            problems.append(f"{example['workload']} answered {status or 'nothing'}: {text[:200]}")
    return problems
