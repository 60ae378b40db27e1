"""Secrets at rest: provider keys by MultiFernet, kept answers by AES-GCM under a key of the line of business."""

import base64
import hashlib
import hmac
import os
from functools import lru_cache

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from switchyard.core.conf import conf


def _derive(purpose: str) -> bytes:
    return hashlib.sha256(f"{purpose}\0{settings.SECRET_KEY}".encode()).digest()


@lru_cache(maxsize=4)
def _fernets(keys: tuple[str, ...], fallback: str) -> MultiFernet:
    """The first key encrypts, all of them decrypt: rotation puts a new one in front."""
    chosen = [Fernet(k) for k in keys] or [Fernet(base64.urlsafe_b64encode(_derive("secrets")))]
    return MultiFernet(chosen)


def seal_secret(plain: str) -> str:
    return _fernets(tuple(conf("SECRETS_KEYS")), settings.SECRET_KEY).encrypt(plain.encode()).decode()


def open_secret(sealed: str) -> str:
    """Plain text; cryptography.fernet.InvalidToken when the key is gone or the text was changed."""
    return _fernets(tuple(conf("SECRETS_KEYS")), settings.SECRET_KEY).decrypt(sealed.encode()).decode()


@lru_cache(maxsize=1024)
def _lob_cipher(lob: str, secret: str) -> AESGCM:
    return AESGCM(_derive(f"lob:{lob}"))


def lob_cipher(lob: str) -> AESGCM:
    """The cipher of a line of business, for what is sealed in pieces (switchyard.core.sealed_files)."""
    return _lob_cipher(lob, settings.SECRET_KEY)


def seal_for_lob(lob: str, plain: bytes) -> str:
    nonce = os.urandom(12)
    sealed = _lob_cipher(lob, settings.SECRET_KEY).encrypt(nonce, plain, lob.encode())
    return base64.b64encode(nonce + sealed).decode()


def open_for_lob(lob: str, sealed: str) -> bytes:
    """cryptography.exceptions.InvalidTag when it was sealed for another line of business."""
    raw = base64.b64decode(sealed)
    return _lob_cipher(lob, settings.SECRET_KEY).decrypt(raw[:12], raw[12:], lob.encode())


def keyed_digest(text: str) -> str:
    """HMAC-SHA256 under the pepper, hex: how API keys and tokens are stored."""
    return hmac.new(conf("KEY_PEPPER").encode(), text.encode(), hashlib.sha256).hexdigest()
