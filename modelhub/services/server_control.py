"""Speaking to a deployment's own model server: what it is told while it runs, over its control endpoints."""

from __future__ import annotations

import http.client
import json
import logging
from typing import Any

from modelhub.models import Deployment, ModelVersion
from modelhub.services.registration import checked_base_url
from modelhub.services.upstream_headers import known_by
from switchyard.core.addresses import AddressRefused
from switchyard.core.errors import InvalidRequest, SwitchyardError, UpstreamFailure
from switchyard.core.reaching import reach

log = logging.getLogger(__name__)
ANSWER_MAX_BYTES = 1024 * 1024


def tell(
    deployment: Deployment,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    timeout_s: float = 10.0,
) -> dict[str, Any]:
    """The server's JSON answer to a call at its root, with the deployment's key.

    Raises InvalidRequest for what the server refuses (its words) or an address that may not be called, UpstreamFailure
    when it doesn't answer or is no server of ours.
    """
    url, leaves = checked_base_url(deployment.base_url), deployment.side == "external"
    try:
        connection, prefix, more = reach(url, timeout_s=timeout_s, leaves=leaves)
    except ValueError as error:
        raise InvalidRequest(f"{deployment.name}: {error}") from None
    headers = known_by(deployment.api_key, deployment.headers) | {"content-type": "application/json"} | more
    try:
        connection.request(
            method, prefix + path, json.dumps(body or {}) if method == "POST" else None, headers
        )
        response = connection.getresponse()
        status, raw = response.status, response.read(ANSWER_MAX_BYTES)
    except (OSError, http.client.HTTPException, AddressRefused) as error:
        raise UpstreamFailure(f"{deployment.name} can't be reached ({type(error).__name__}).") from None
    finally:
        connection.close()
    return _read(deployment, status, raw)


def _read(deployment: Deployment, status: int, raw: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(raw)
        words = reply["error"]["message"] if status >= 400 else ""
    except (ValueError, KeyError, TypeError):
        reply, words = None, ""
    if status < 300 and isinstance(reply, dict):
        return reply
    if words and status in (400, 404, 409, 422, 503):
        raise InvalidRequest(f"{deployment.name}: {words}")
    raise UpstreamFailure(
        f"{deployment.name} answered {status}: it is no model server of ours, or is in trouble."
    )


def warm(version: ModelVersion) -> None:
    """Have the server load what goes live before the first request waits for it. Best effort: it loads at first use too."""
    if version.deployment.side != "private" or not version.lineage.get("job"):
        return
    try:
        tell(version.deployment, "POST", "/control/load", {"model": version.upstream_model}, timeout_s=3.0)
    except SwitchyardError as error:
        log.warning("%s is not loaded ahead: %s", version.upstream_model, error.message)
