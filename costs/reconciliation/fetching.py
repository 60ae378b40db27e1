"""Asking a vendor's server for its bill: `GET /bill?from&to` at its root, to checked addresses only, bounded in size."""

from __future__ import annotations

import http.client
import socket
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from costs.reconciliation.bills import MAX_BYTES
from switchyard.core.addresses import AddressRefused, check_address, check_url
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest, NotFound, UpstreamFailure

TIMEOUT_S = 60.0


class NoBill(NotFound):
    """The server offers no bill: upload the vendor's file instead."""

    code = "no_bill_offered"


def fetch_bill(*, base_url: str, api_key: str, start: datetime, end: datetime) -> str:
    """The text of the bill for [start, end).

    Raises InvalidRequest for an address that may not be called, NoBill for a server that has none, UpstreamFailure when
    it doesn't answer well. A redirect is not followed: it could lead anywhere.
    """
    cidrs = conf("UPSTREAM_CIDRS")
    try:
        check_url(base_url, cidrs)
    except AddressRefused as error:
        raise InvalidRequest(str(error), param="base_url") from None
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    connection._create_connection = _checked(cidrs, parts.hostname or "")  # type: ignore[attr-defined]
    query = urlencode({"from": start.isoformat(), "to": end.isoformat()})
    headers = {"authorization": f"Bearer {api_key}", "accept": "application/json"}
    try:
        connection.request("GET", f"/bill?{query}", headers=headers)
        response = connection.getresponse()
        raw = response.read(MAX_BYTES + 1)
    except AddressRefused as error:
        raise InvalidRequest(str(error), param="base_url") from None
    except (OSError, http.client.HTTPException) as error:
        raise UpstreamFailure(f"The vendor's bill can't be fetched ({type(error).__name__}).") from None
    finally:
        connection.close()
    return _text(response.status, raw)


def _text(status: int, raw: bytes) -> str:
    if status in (404, 405, 501):
        raise NoBill("The server offers no bill at /bill; upload the vendor's usage file instead.")
    if status != 200:
        raise UpstreamFailure(f"The vendor's server answered {status} to the request for its bill.")
    if len(raw) > MAX_BYTES:
        raise UpstreamFailure(f"The bill is larger than {MAX_BYTES // 2**20} MiB; ask for fewer days.")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UpstreamFailure("The vendor's bill is not text in UTF-8.") from None


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
