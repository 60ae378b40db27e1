"""What travels in the head of a request to the pages process and back: who really asks, and nothing that ends at a hop.

The front tells the pages who asked (address, scheme, host) and proves itself by a token of the shared secret: only then does
the pages process believe it, so nobody who reaches its port or socket can pretend another address. Whether a proxy before the
*front* is believed is the server's own setting (uvicorn's FORWARDED_ALLOW_IPS); here its verdict is in the scope already.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

Raw = tuple[bytes, bytes]
TOKEN = b"x-switchyard-front"
# RFC 9110 §7.6.1: these speak of one connection. `expect` was answered by the server that received it.
HOP_BY_HOP = frozenset({
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"expect",
})  # fmt: skip
# What only we say. A caller's own word for it never passes.
TOLD = frozenset({
    b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port",
    b"x-forwarded-server", b"x-forwarded-prefix", b"x-real-ip", TOKEN,
})  # fmt: skip
# Each server writes its own; two of them would be a response with two dates.
SERVERS_OWN = frozenset({b"date", b"server"})
WITHOUT_BODY = frozenset({204, 304})


@lru_cache(maxsize=4)
def front_token(secret: str) -> bytes:
    """What proves to the pages process that the front of the same installation speaks."""
    return hmac.new(secret.encode(), b"switchyard: front to pages", hashlib.sha256).hexdigest().encode()


def _named_by_connection(headers: Iterable[Raw]) -> set[bytes]:
    """Headers that this connection's own `Connection` declares to be its own."""
    named: set[bytes] = set()
    for name, value in headers:
        if name == b"connection":
            named.update(part.strip().lower() for part in value.split(b","))
    return named


def to_pages(scope: dict[str, Any], token: bytes) -> list[tuple[str, str]]:
    """The headers of the request that goes on, as the client sent them, plus who asked by this connection.

    `Host` stays: allowed hosts and the check of forms' origins are about what the browser asked for. Bytes that are no UTF-8
    (cookies of another program on the same host) are read as Latin-1.
    """
    headers: list[Raw] = scope["headers"]
    left_out = HOP_BY_HOP | TOLD | _named_by_connection(headers)
    kept = [(name, value) for name, value in headers if name not in left_out]
    host = next((value for name, value in kept if name == b"host"), b"")
    if not host:  # HTTP/1.0: what Django would make of the server's own address
        server = scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}".encode() if server[1] else str(server[0]).encode()
        kept = [pair for pair in kept if pair[0] != b"host"] + [(b"host", host)]
    kept += [
        (b"x-forwarded-proto", scope.get("scheme", "http").encode()),
        (b"x-forwarded-host", host),
        (TOKEN, token),
    ]
    if client := scope.get("client"):
        kept.append((b"x-forwarded-for", str(client[0]).encode()))
    return [(name.decode("latin-1"), _text(value)) for name, value in kept]


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def from_pages(status: int, raw: Iterable[Raw]) -> list[Raw]:
    """The headers of the answer that goes out: each as it came, also those that come several times (`Set-Cookie`)."""
    lowered = [(name.lower(), value) for name, value in raw]
    left_out = HOP_BY_HOP | SERVERS_OWN | _named_by_connection(lowered)
    if status in WITHOUT_BODY:
        left_out = left_out | {b"content-length"}  # a length without a body is more than our server can send
    return [pair for pair in lowered if pair[0] not in left_out]


def has_body(headers: Iterable[Raw]) -> bool:
    """Whether the request announces a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() not in (b"", b"0"))
        for name, value in headers
    )


class NotTheFront(Exception):
    """Somebody claims to be the front and doesn't know its token."""


def as_the_client_asked(scope: dict[str, Any], token: bytes) -> dict[str, Any]:
    """In the pages process: the scope as the front received it. Without a token the caller stands for itself.

    Raises NotTheFront on a wrong token: the two processes have different secrets.
    """
    headers: list[Raw] = scope["headers"]
    told = {name: value for name, value in headers if name in TOLD}
    given = told.get(TOKEN)
    if given is None:
        return {**scope, "headers": [pair for pair in headers if pair[0] not in TOLD]}
    if not hmac.compare_digest(given, token):
        raise NotTheFront
    address = told.get(b"x-forwarded-for", b"").decode("latin-1")
    return {
        **scope,
        "headers": [pair for pair in headers if pair[0] != TOKEN],
        "client": (address, 0) if address else None,
        "scheme": told.get(b"x-forwarded-proto", b"http").decode("latin-1"),
    }
