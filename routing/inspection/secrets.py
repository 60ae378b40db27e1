"""Credentials by their form: keys that vendors mark, private keys, passwords in URLs and assignments. Linear."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from modelhub.ml.inspect.look import Look, places

Found = tuple[str, int, int]
_KEY = re.compile(
    r"(?<![A-Za-z0-9_-])(?:sk-(?=[A-Za-z_-]{0,60}\d)[A-Za-z0-9_-]{20,200}+|sk-ant-[A-Za-z0-9_-]{20,200}+"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,200}+|syt?_(?:live_)?[0-9a-f]{12}_[A-Za-z0-9-]{20,80}+"
    r"|gh[pousr]_[A-Za-z0-9]{30,255}+|github_pat_[A-Za-z0-9_]{30,255}+|glpat-[A-Za-z0-9_-]{20,64}+"
    r"|xox[abprse]-[A-Za-z0-9-]{10,200}+|(?:AKIA|ASIA)[0-9A-Z]{16}(?![0-9A-Z])|AIza[0-9A-Za-z_-]{35}"
    r"|hf_[A-Za-z0-9]{30,64}+|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{40,200}+"
    r"|SG\.[A-Za-z0-9_-]{16,32}+\.[A-Za-z0-9_-]{30,64}+|dop_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"
    r"|dapi[0-9a-f]{32}|ya29\.[A-Za-z0-9_-]{30,200}+|LTAI[A-Za-z0-9]{12,24}+|AKID[A-Za-z0-9]{28,36}+"
    r"|gsk_[A-Za-z0-9]{40,60}+|\d{8,10}:AA[A-Za-z0-9_-]{32,36}+)"
)
_WORDS = frozenset((
    "sk", "rk", "sy", "syt", "ghp", "gho", "ghu", "ghs", "ghr", "github", "glpat", "xoxa", "xoxb", "xoxp", "xoxr", "xoxs",
    "xoxe", "hf", "npm", "pypi", "sg", "dop", "shpat", "shpca", "shppa", "shpss", "ya29", "gsk",
))  # fmt: skip
_MARKS = ("AKIA", "ASIA", "AIza", "dapi", "LTAI", "AKID", ":AA")  # within a word, as written
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,4000}+\.eyJ[A-Za-z0-9_-]{5,8000}+\.[A-Za-z0-9_-]{10,2000}+"
)
_URL = re.compile(r"://[^\s:/@]{0,64}+:[^\s@/]{3,128}+@")
_HTTP = re.compile(r"(?i)\b(?:basic|bearer)\s+(?=[^\s\"']{0,60}[\d=])[A-Za-z0-9+/._~=-]{16,2000}+")
# What a password is called, and from there: perhaps more of the name, a sign or a word for "is", the value. The value must
# not be an ordinary word: `token: available` and `password: required` are no secrets.
_CALLED = ("pass", "pwd", "secret", "credential", "token", "key")
_OF_A_KEY = re.compile(r"(?:api|access|account|client|shared|sign(?:ing)?|encryption|secret)[_ -]?\Z")
_CALLED_CHINESE = ("密码", "口令", "密钥")
_IS = r"[\w-]{0,24}?[\"']?\s{0,3}(?:[:=：]|\bis\b|是|为)\s{0,3}[\"']?"
_VALUE = re.compile(rf"[\w -]{{0,10}}{_IS}((?=[^\s\"']{{0,24}}[\d!@#$%^&*])[^\s\"'，。；]{{6,200}}+)")
_PIN = re.compile(r"pin(?: code)?(?: is|:|=)\s{0,2}(\d{4,8})\b", re.IGNORECASE)
_RANDOM = re.compile(
    r"[\w-]{0,24}?[\"']?\s{0,3}(?:[:=：]|\bis\b|是|为)?\s{0,3}[\"']?(?<![A-Za-z0-9+/_=-])([A-Za-z0-9+/_=-]{20,200}+)"
)
# Every value of an assignment has one of these (other scripts' digits are bytes over 127); and without any sign or digit the
# shortest credential that is only letters is a word this long (an `eyJ` with ten more; vendors' begin at sixteen).
_VALUED = re.compile(rb"[0-9!@#$%^&*\x80-\xff]")
_WORDS_ALONE = 13
_PRIVATE = re.compile(
    r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=\s:,.\\-]{0,8000}?-----END [A-Z0-9 ]{2,40}-----)?"
    r"|-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY|PuTTY-User-Key-File-\d"
)
LEAST_ENTROPY = (
    3.7  # bits a character: words and paths lie under it, keys above (base64 of 32 bytes: about 4.9)
)


def find(look: Look) -> Iterable[Found]:
    """(kind, start, end). Of prose without a digit or sign only a very long word can be a credential."""
    if look.odd or look.longest_word >= _WORDS_ALONE:
        return _find(look)
    return ()


def _find(look: Look) -> Iterator[Found]:
    text, odd = look.text, look.odd
    if b"-" in odd and ("PRIVATE KEY" in text or "PuTTY-User" in text):
        yield from (("private_key", m.start(), m.end()) for m in _PRIVATE.finditer(text))
    if not _WORDS.isdisjoint(look.words) or any(mark in text for mark in _MARKS):
        yield from (("api_key", m.start(), m.end()) for m in _KEY.finditer(text))
    if "eyJ" in text:
        yield from (("jwt", m.start(), m.end()) for m in _JWT.finditer(text))
    if b":" in odd and "://" in text:
        yield from (("url_password", m.start() + 3, m.end() - 1) for m in _URL.finditer(text))
    if "basic" in look.words or "bearer" in look.words:
        yield from (("password", m.start(), m.end()) for m in _HTTP.finditer(text))
    if _VALUED.search(odd):
        yield from _assigned(look)


def _assigned(look: Look) -> Iterator[Found]:
    """Values behind a word that says they are secret; a mere key's only when they look random."""
    text, lower = look.text, look.lower
    for called in _CALLED if look.is_ascii else (*_CALLED, *_CALLED_CHINESE):
        for at in places(lower, called):
            end = at + len(called)
            if called == "pass" and not lower.startswith(("w", "phrase", "code"), end):
                continue
            named = called != "key" or _OF_A_KEY.search(lower, max(0, at - 12), at)
            if named and (match := _VALUE.match(text, end)):
                yield "password", match.start(1), match.end(1)
            match = _RANDOM.match(text, end)
            if match and _is_random(match.group(1)):
                yield "api_key", match.start(1), match.end(1)
    if "pin" in look.words:
        yield from (("password", m.start(1), m.end(1)) for m in _PIN.finditer(text))


def _is_random(value: str) -> bool:
    """Letters and digits mixed, and too many different ones for a word."""
    if not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    counts = Counter(value)
    bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return bits >= min(LEAST_ENTROPY, 0.85 * math.log2(len(value)))
