"""Asking a vendor's server for its bill: `GET /bill?from&to` at its root, to checked addresses only, bounded in size."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from costs.reconciliation.bills import MAX_BYTES
from switchyard.core.errors import NotFound, UpstreamFailure
from switchyard.core.fetching import fetch

TIMEOUT_S = 60.0


class NoBill(NotFound):
    """The server offers no bill: upload the vendor's file instead."""

    code = "no_bill_offered"


def fetch_bill(*, base_url: str, api_key: str, start: datetime, end: datetime) -> str:
    """The text of the bill for [start, end).

    Raises InvalidRequest for an address that may not be called, NoBill for a server that has none, UpstreamFailure when
    it doesn't answer well.
    """
    query = urlencode({"from": start.isoformat(), "to": end.isoformat()})
    headers = {"authorization": f"Bearer {api_key}", "accept": "application/json"}
    status, raw = fetch(
        base_url, f"/bill?{query}", headers=headers, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, leaves=True
    )
    return _text(status, raw)


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
