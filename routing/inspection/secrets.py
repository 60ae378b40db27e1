"""Credentials by their form: keys that vendors mark, private keys, passwords in URLs and assignments. Linear."""

from __future__ import annotations

import re
from collections.abc import Iterator

_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:sk-(?=[A-Za-z_-]{0,60}\d)[A-Za-z0-9_-]{20,200}+|sk-ant-[A-Za-z0-9_-]{20,200}+"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}+|syt?_(?:live_)?[0-9a-f]{12}_[A-Za-z0-9-]{20,80}+"
    r"|gh[pousr]_[A-Za-z0-9]{30,255}+|github_pat_[A-Za-z0-9_]{30,255}+|glpat-[A-Za-z0-9_-]{20,64}+"
    r"|xox[abprse]-[A-Za-z0-9-]{10,200}+|(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])|AIza[0-9A-Za-z_-]{35}"
    r"|hf_[A-Za-z0-9]{30,64}+|npm_[A-Za-z0-9]{36})"
)
_KEY_HINTS = (
    "sk-", "k_live_", "k_test_", "sy_", "syt_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox",
    "akia", "asia", "aiza", "hf_", "npm_",
)  # fmt: skip
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,4000}+\.eyJ[A-Za-z0-9_-]{5,8000}+\.[A-Za-z0-9_-]{10,2000}+"
)
_URL = re.compile(r"://[^\s:/@]{0,64}+:[^\s@/]{3,128}+@")
# The value must not be an ordinary word: `token: available` and `password: required` are no secrets.
_PASSWORD = re.compile(
    r"(?i:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?key|auth[_-]?token|token|密码|口令)"
    r"[\w-]{0,24}?[\"']?\s{0,3}(?:[:=：]|\bis\b|是|为)\s{0,3}[\"']?(?=[^\s\"']{0,24}[\d!@#$%^&*])[^\s\"']{6,128}+"
)
_PASSWORD_HINTS = ("assw", "assp", "pwd", "ecret", "key", "token", "密码", "口令")
_PRIVATE = re.compile(r"-----BEGIN (?:[A-Z]{2,12} ){0,3}PRIVATE KEY")
# A pattern is tried only where one of its hints occurs in the lower-cased text: plain text costs a few substring searches.
_KINDS = (
    ("private_key", _PRIVATE, ("private key",)), ("api_key", _KEY, _KEY_HINTS), ("jwt", _JWT, ("eyj",)),
    ("url_password", _URL, ("://",)), ("password", _PASSWORD, _PASSWORD_HINTS),
)  # fmt: skip


def find(text: str) -> Iterator[tuple[str, int, int]]:
    """(kind, start, end)."""
    lower = text.lower()
    for kind, pattern, hints in _KINDS:
        if any(hint in lower for hint in hints):
            for match in pattern.finditer(text):
                yield kind, match.start(), match.end()
