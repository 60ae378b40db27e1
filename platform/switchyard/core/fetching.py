"""One call of a configured server: to checked addresses only, bounded in size, no redirects."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from switchyard.core.addresses import AddressRefused
from switchyard.core.errors import InvalidRequest, UpstreamFailure, UpstreamMisconfigured
from switchyard.core.reaching import reach


def fetch(
    base_url: str,
    path: str,
    *,
    headers: Mapping[str, str],
    timeout_s: float,
    max_bytes: int,
    leaves: bool | None = None,
) -> tuple[int, bytes]:
    """(status, body) of `path` at the server's root; a body over `max_bytes` comes with one byte more than allowed.

    Raises InvalidRequest for an address that may not be called and UpstreamFailure when nothing answers. A redirect is
    not followed: it could lead anywhere. `leaves`: as in switchyard.core.reaching.reach.
    """
    status, _, body = call(
        base_url, path, headers=headers, timeout_s=timeout_s, max_bytes=max_bytes, leaves=leaves
    )
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
    leaves: bool | None = None,
) -> tuple[int, Mapping[str, str], bytes]:
    """As `fetch`, by any method and with the answer's headers (names in small letters)."""
    try:
        connection, prefix, more = reach(base_url, timeout_s=timeout_s, leaves=leaves)
    except AddressRefused as error:
        raise InvalidRequest(str(error), param="base_url") from None
    except ValueError as error:
        raise UpstreamMisconfigured(str(error)) from None
    try:
        connection.request(method, prefix + path, body=body, headers=dict(headers) | more)
        response = connection.getresponse()
        told = {name.lower(): value for name, value in response.getheaders()}
        return response.status, told, response.read(max_bytes + 1)
    except AddressRefused as error:
        raise InvalidRequest(str(error), param="base_url") from None
    except (OSError, http.client.HTTPException) as error:
        raise UpstreamFailure(f"The server doesn't answer ({type(error).__name__}).") from None
    finally:
        connection.close()
