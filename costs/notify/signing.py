"""Pure: how a webhook shows that it is ours and fresh."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "X-Switchyard-Signature"


def signature(secret: str, body: bytes, at_s: int) -> str:
    """`t=<seconds since the epoch>,v1=<hex>`: HMAC-SHA256 under the target's secret over `<t>.<body>`."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"
