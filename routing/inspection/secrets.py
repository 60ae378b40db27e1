"""Credentials by their form: keys that vendors mark, private keys, passwords in URLs and assignments."""

from __future__ import annotations

import re
from collections.abc import Iterator

_KEY = re.compile(
    r"\b(?:sk-[A-Za-z0-9_-]{20,}|sy_live_[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{35}|glpat-[A-Za-z0-9_-]{20,})"
)
_JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s:/@]{1,64}:[^\s@/]{3,128}@")
_PASSWORD = re.compile(
    r"(?i:\b(?:password|passwd|secret|api[_-]?key|token)\b\s{0,3}[:=]\s{0,3}['\"]?[^\s'\"]{8,128})"
)
_PRIVATE = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")
# A pattern is tried only where one of its hints occurs: plain text costs a few substring searches.
_KINDS = (
    ("private_key", _PRIVATE, ("PRIVATE KEY",)),
    (
        "api_key",
        _KEY,
        ("sk-", "sy_live_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "AKIA", "AIza", "glpat-"),
    ),
    ("jwt", _JWT, ("eyJ",)),
    ("url_password", _URL, ("://",)),
    ("password", _PASSWORD, ("assw", "ASSW", "ecret", "ECRET", "oken", "OKEN", "key", "KEY", "Key")),
)


def find(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end)."""
    for kind, pattern, hints in _KINDS:
        if any(hint in text for hint in hints):
            for match in pattern.finditer(text):
                yield kind, match.start(), match.end()
