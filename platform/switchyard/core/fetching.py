"""One call of a configured server: to checked addresses only, bounded in size, no redirects."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from switchyard.core.addresses import AddressRefused, check_address, check_url
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest, UpstreamFailure


def fetch(
    base_url: str, path: str, *, headers: Mapping[str, str], timeout_s: float, max_bytes: int
) -> tuple[int, bytes]:
    """(status, body) of `path` at the server's root; a body over `max_bytes` comes with one byte more than allowed.

    Raises InvalidRequest for an address that may not be called and UpstreamFailure when nothing answers. A redirect is
    not followed: it could lead anywhere.
    """
    status, _, body = call(base_url, path, headers=headers, timeout_s=timeout_s, max_bytes=max_bytes)
    return status, body


def call(
    base_url: str,
    path: str,
    *,
    headers: Mapping[str, str],
    timeout_s: float,
    max_bytes: int,
    method: str = "GET",
    body: bytes | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    """As `fetch`, by any method and with the answer's headers (names in small letters)."""
    cidrs = conf("UPSTREAM_CIDRS")
    try:
        check_url(base_url, cidrs)
    except AddressRefused as error:
        raise InvalidRequest(str(error), param="base_url") from None
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    connection._create_connection = _checked(cidrs, parts.hostname or "")  # type: ignore[attr-defined]
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, told, response.read(max_bytes + 1)
    except AddressRefused as error:
        raise InvalidRequest(str(error), param="base_url") from None
    except (OSError, http.client.HTTPException) as error:
        raise UpstreamFailure(f"The server doesn't answer ({type(error).__name__}).") from None
    finally:
        connection.close()


def _checked(cidrs: Any, name: str) -> Any:
    """A connector that checks every address of the name and connects to one of those: no second look-up to turn it."""

    def connect(address: tuple[str, int], timeout: Any = None, source: Any = None) -> socket.socket:
        host, port = address
        failure: OSError | None = None
        for family, kind, protocol, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            check_address(str(place[0]), cidrs, name)
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(timeout)
                sock.connect(place)
                return sock
            except OSError as error:
                sock.close()
                failure = error
        raise failure or OSError(f"{name} has no address")

    return connect
