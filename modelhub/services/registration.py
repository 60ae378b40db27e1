"""Registering what can answer: where a deployment may live."""

from __future__ import annotations

from switchyard.core.addresses import AddressRefused, check_url
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest


def checked_base_url(url: str) -> str:
    """The URL without its last slash. Raises InvalidRequest when upstream calls may not go there.

    Asked when a deployment is written and again before a job calls it, for a name may lead elsewhere by then.
    """
    try:
        check_url(url, conf("UPSTREAM_CIDRS"))
    except AddressRefused as error:
        raise InvalidRequest(str(error), param="base_url") from None
    return url.rstrip("/")
