"""Bearer keys of /v1, looked up in memory."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from hashlib import sha256

from routing.contracts import KeyInfo
from switchyard.core.clock import now_ns
from switchyard.core.conf import conf
from switchyard.core.errors import NotAuthenticated
from switchyard.gateway.snapshot import World

CACHE_SIZE = 10_000
HEADER_MAX = 300


class KeyRing:
    """Header → KeyInfo. The keyed digest of a header is computed once and kept; what it means is looked up each time."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, str] = OrderedDict()
        self._pepper = conf("KEY_PEPPER").encode()

    def authenticate(self, header: bytes, world: World) -> KeyInfo:
        """Raises NotAuthenticated, with the same words whether a key is unknown or revoked."""
        digest = self._digests.get(header) or self._digest(header)
        key = world.keys.get(digest)
        if key is None:
            raise NotAuthenticated(
                "The API key is missing, unknown, or was revoked. Send `Authorization: Bearer sy_live_…`."
            )
        if key.expires_ns and key.expires_ns <= now_ns():
            raise NotAuthenticated("The API key has expired.")
        return key

    def _digest(self, header: bytes) -> str:
        scheme, _, secret = header.partition(b" ")
        if scheme.lower() != b"bearer" or not secret.startswith(b"sy_") or len(header) > HEADER_MAX:
            raise NotAuthenticated(
                "The API key is missing or is not a key of /v1. Send `Authorization: Bearer sy_live_…`."
            )
        digest = hmac.new(self._pepper, secret.strip(), sha256).hexdigest()
        self._digests[header] = digest
        if len(self._digests) > CACHE_SIZE:
            self._digests.popitem(last=False)
        return digest
