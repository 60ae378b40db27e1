"""One pass over a text: every kind with its places, patterns only. Linear, and cheap where there is nothing."""

from __future__ import annotations

import re

from modelhub.ml.inspect.look import Look
from routing.inspection import markers, numbers, said, secrets
from routing.inspection.dictionaries import Dictionaries

Found = tuple[str, int, int]  # kind, start, end; a marker has no place: (kind, 0, 0)
_LOCAL = r"A-Za-z0-9\u00c0-\u1fff._%+-"
_EMAIL = re.compile(
    rf"(?<![{_LOCAL}])[{_LOCAL}]{{1,64}}+@(?:[A-Za-z0-9\u00a1-\u2dff-]{{1,63}}+\.){{1,8}}[A-Za-z\u00a1-\u2dff]{{2,24}}"
)
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])")
_IPV6_LIKE = re.compile(rb":[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:")
_TELLING = (
    said.HINTS | markers.HEALTH | markers.LEGAL_HINTS
)  # without one of them an ASCII text says nothing of the kind


def find(text: str, dictionaries: Dictionaries | None = None, look: Look | None = None) -> list[Found]:
    """(kind, start, end) of all that looks and adds up like personal data, a credential, a customer's own term or a marker."""
    look = look or Look(text)
    found: list[Found] = []
    odd = look.odd
    if b"@" in odd:
        found += [("email", m.start(), m.end()) for m in _EMAIL.finditer(text)]
    if look.longest >= numbers.LEAST_DIGITS:
        found += numbers.find(text)
    if look.digits >= numbers.LEAST_IN_IBAN:
        found += numbers.ibans(text)
    if look.digits >= numbers.LEAST_IN_GROUPS:
        found += numbers.in_groups(text)
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
