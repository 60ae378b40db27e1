"""Callers of HTTP/1.0, who know no chunks: what is made while it is sent is gathered first, and leaves with its length."""

from __future__ import annotations

from typing import Any

from switchyard.gateway.replies import Send


def gathered(send: Send) -> Send:
    """An ASGI `send` for them. Whatever says its length passes as it is."""
    start: dict[str, Any] | None = None
    parts: list[bytes] = []

    async def tell(message: dict[str, Any]) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            if not any(name == b"content-length" for name, _ in message["headers"]):
                start = message
                return
        elif start is not None and message["type"] == "http.response.body":
            parts.append(message.get("body", b""))
            if message.get("more_body"):
                return
            whole = b"".join(parts)
            headers = [*start["headers"], (b"content-length", str(len(whole)).encode())]
            await send({**start, "headers": headers})
            message = {"type": "http.response.body", "body": whole}
        await send(message)

    return tell
