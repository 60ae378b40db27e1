"""The dictionaries in force, as inspection holds them: built once for each state of the rows, not for each snapshot."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.fernet import InvalidToken

from routing.dictionaries.models import SensitiveDictionary
from routing.inspection.dictionaries import Dictionaries

log = logging.getLogger(__name__)
KEPT = 64
_built: dict[tuple[Any, ...], Dictionaries] = {}


def dictionaries_of(organisation_id: int, lobs: Sequence[str]) -> Mapping[str, Dictionaries]:
    """LOB → its own and the organisation's terms. A dictionary that can't be opened is said aloud and makes every request of its
    LOBs restricted, since nobody knows what it would have found."""
    rows = list(
        SensitiveDictionary.objects.filter(organisation_id=organisation_id, active=True).select_related("lob")
    )
    if not rows:
        return {}
    found = {}
    for lob in lobs:
        mine = [row for row in rows if row.lob is None or row.lob.slug == lob]
        if mine:
            found[lob] = _kept(mine)
    return found


def _kept(rows: Sequence[SensitiveDictionary]) -> Dictionaries:
    key = tuple((row.pk, row.changed_at, row.sensitivity) for row in rows)
    if key not in _built:
        if len(_built) >= KEPT:
            _built.clear()
        _built[key] = _made(rows)
    return _built[key]


def _made(rows: Sequence[SensitiveDictionary]) -> Dictionaries:
    pairs = []
    for row in rows:
        try:
            pairs += [(term, row.sensitivity) for term in row.terms]
        except (InvalidToken, ValueError):
            log.error("dictionary %s can't be opened: requests it is for count as restricted", row.pk)
            return Dictionaries.closed()
    return Dictionaries.of(pairs)
