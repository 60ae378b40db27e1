"""Signing a report: Ed25519 over its canonical JSON, so that a reader needs the signer's fingerprint and nothing secret."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ALGORITHM = "Ed25519"


class SignatureWrong(ValueError):
    """The report isn't the one that was signed, or another key signed it."""


def canonical(body: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: sorted keys, no spaces. Raises ValueError for numbers that JSON can't hold."""
    return json.dumps(
        body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def own_key(path: Path) -> bytes:
    """The private key at `path` (raw, 32 bytes, base64), made there for its owner alone when there is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if path.exists():
        raw = base64.b64decode(path.read_bytes(), validate=True)
        if len(raw) != 32:
            raise SignatureWrong(f"{path} holds {len(raw)} bytes: an Ed25519 key has 32")
        return raw
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = Ed25519PrivateKey.generate().private_bytes_raw()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(base64.b64encode(raw))
    return raw


def fingerprint(public: bytes) -> str:
    """SHA-256 of a public key, hex: what people compare."""
    return hashlib.sha256(public).hexdigest()


def sign(body: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    """`body` with its signature beside it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.from_private_bytes(key)
    public = private.public_key().public_bytes_raw()
    signed = private.sign(canonical(body))
    words = {
        "algorithm": ALGORITHM,
        "public_key": _text(public),
        "fingerprint": fingerprint(public),
        "value": _text(signed),
    }
    return {"body": dict(body), "signature": words}


def verify(signed: Mapping[str, Any], trusted: str | None = None) -> str:
    """The signer's fingerprint when the report is whole. Raises SignatureWrong; with `trusted`, for any other signer too.

    Without `trusted` it says only that whoever holds that key signed exactly this.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        words = signed["signature"]
        if words["algorithm"] != ALGORITHM:
            raise SignatureWrong(f"signed by {words['algorithm']!r}, expected {ALGORITHM}")
        public = base64.b64decode(words["public_key"], validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(
            base64.b64decode(words["value"], validate=True), canonical(signed["body"])
        )
    except InvalidSignature:
        raise SignatureWrong(
            "the report was changed after it was signed, or the signature is another report's"
        ) from None
    except SignatureWrong:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise SignatureWrong(f"not a signed report: {error}") from error
    found = fingerprint(public)
    if trusted is not None and found != trusted.strip().lower():
        raise SignatureWrong(f"signed by {found[:16]}…, expected {trusted[:16]}…")
    return found


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
