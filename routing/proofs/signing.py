"""Seals and proofs are signed with a key of this installation: Ed25519, so that a reader needs nothing secret."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from modelhub.hal import signature
from switchyard.core.crypto import keyed_digest


@lru_cache(maxsize=4)
def _key_of(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(secret.encode()).digest())


def _key() -> Ed25519PrivateKey:
    return _key_of(keyed_digest("signatures of decision seals"))


def public_key() -> bytes:
    return _key().public_key().public_bytes_raw()


def own_fingerprint() -> str:
    """What whoever verifies a proof elsewhere compares: SHA-256 of the public key."""
    return signature.fingerprint(public_key())


def sign_head(head: str) -> str:
    return base64.b64encode(_key().sign(head.encode())).decode()


def head_is_signed(head: str, signed: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key()).verify(
            base64.b64decode(signed, validate=True), head.encode()
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def sign_proof(body: Mapping[str, Any]) -> dict[str, Any]:
    """{"body", "signature"} as modelhub.hal.signature writes and verifies it."""
    return signature.sign(body, _key().private_bytes_raw())
