"""Every response to a known key says which policy was in force: refusals before a decision, errors and look-ups too."""

from __future__ import annotations

from typing import Any

from routing.contracts import Policies
from switchyard.gateway.replies import Send

HEADER = "x-switchyard-policy-version"
_NAME = HEADER.encode()


def in_force(policies: Policies, lob: str, sticky: str = "") -> str:
    """As decisions name it (`org@3+legal@2`). Without a caller to draw by, the version that is being rolled out."""
    own = getattr(policies, "lobs", {}).get(lob)
    base = getattr(policies, "organisation", None)
    documents = [rollout.pick(sticky) for rollout in (base, own) if rollout is not None]
    return "+".join(document.label for document in documents if document is not None) or "none"


def versioned(send: Send, policies: Policies, lob: str) -> Send:
    """A `send` that adds the version where a response doesn't say it: answers do, by their own decision."""

    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            if not (headers and headers[0][0] == _NAME or any(name == _NAME for name, _value in headers)):
                message = {**message, "headers": [*headers, (_NAME, in_force(policies, lob).encode())]}
        await send(message)

    return sending
