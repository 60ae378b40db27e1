"""One pass over a text: every kind with its places, patterns only. Linear, and cheap where there is nothing."""

from __future__ import annotations

import re
import unicodedata

from modelhub.ml.inspect.look import Look
from routing.inspection import markers, numbers, said, secrets
from routing.inspection.dictionaries import Dictionaries

Found = tuple[str, int, int]  # kind, start, end; a marker has no place: (kind, 0, 0)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}+@(?:[A-Za-z0-9\u00a1-\u2dff-]{1,63}+\.){1,8}[A-Za-z\u00a1-\u2dff]{2,24}"
)
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])")
_IPV6_LIKE = re.compile(rb":[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:")
_INVISIBLE, _DASHES = "\u200b\u200c\u200d\u2060\ufeff\u00ad", "\u2010\u2011\u2012\u2013\u2014\u2212"
_DIGITS = {start + i: str(i) for start in (0x660, 0x6F0, 0x966, 0x9E6, 0xE50) for i in range(10)}
_DISGUISES: dict[int, str | None] = (
    dict.fromkeys(map(ord, _INVISIBLE)) | dict.fromkeys(map(ord, _DASHES), "-") | _DIGITS  # type: ignore[assignment]
)
_ODD = re.compile(
    f"[{_INVISIBLE}{_DASHES}{''.join(map(chr, _DIGITS))}\uff0e\uff10-\uff19\uff20-\uff3a\uff41-\uff5a\U0001d400-\U0001d7ff]"
)
_TELLING = (
    said.HINTS | markers.HEALTH | markers.LEGAL_HINTS
)  # without one of them an ASCII text says nothing of the kind
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_ENTITY = re.compile(r"&#(?:x([0-9a-fA-F]{2,6})|(\d{2,7}));")


def plain(text: str) -> str:
    """The text without the disguises that characters allow: widths, invisible marks, digits of other scripts, escapes of JSON
    inside a string and of HTML."""
    if not text.isascii() and _ODD.search(text):
        text = unicodedata.normalize("NFKC", text.translate(_DISGUISES))
    if "\\u" in text:
        text = _ESCAPED.sub(lambda match: _char(int(match.group(1), 16)), text)
    if "&#" in text:
        text = _ENTITY.sub(lambda m: _char(int(m.group(1), 16) if m.group(1) else int(m.group(2))), text)
    return text


def _char(point: int) -> str:
    return chr(point) if point < 0x110000 and not 0xD800 <= point < 0xE000 else "\ufffd"


def find(text: str, dictionaries: Dictionaries | None = None, look: Look | None = None) -> list[Found]:
    """(kind, start, end) of all that looks and adds up like personal data, a credential, a customer's own term or a marker."""
    look = look or Look(text)
    found: list[Found] = []
    odd = look.odd
    if b"@" in odd:
        found += [("email", m.start(), m.end()) for m in _EMAIL.finditer(text)]
    if look.longest >= numbers.LEAST_DIGITS:
        found += numbers.find(text)
    if odd.count(b":") >= 7 and _IPV6_LIKE.search(look.data):
        found += [("ip_address", m.start(), m.end()) for m in _IPV6.finditer(text)]
    if not (look.is_ascii and _TELLING.isdisjoint(look.words)):
        found += said.find(look)
        for kind in markers.kinds(look):
            found.append((kind, 0, 0))
    found += secrets.find(look)
    if dictionaries:
        found += [("customer_term", start, end) for start, end, _ in dictionaries.find(look)]
    return found
