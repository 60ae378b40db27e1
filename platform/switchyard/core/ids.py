"""Sortable prefixed ids: prefix + 48 bits of milliseconds + 80 random bits in Crockford base 32 (ULID)."""

import os
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DECODE = {c: i for i, c in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]  # ten bits at a time
_SHIFTS = range(70, -1, -10)
_last = (-1, "")  # the millisecond told last, and its ten characters


def new_id(prefix: str, at_ms: int | None = None) -> str:
    """`prefix_` and 26 characters that sort by time."""
    global _last
    ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    known, when = _last  # read and set as a whole: other threads make ids too
    if known != ms:
        when = "".join([_PAIRS[(ms >> shift) & 1023] for shift in (40, 30, 20, 10, 0)])
        _last = (ms, when)
    n, pairs = int.from_bytes(os.urandom(10), "big"), _PAIRS
    body = "".join([pairs[(n >> shift) & 1023] for shift in _SHIFTS])
    return f"{prefix}_{when}{body}"


def id_time_ms(value: str) -> int:
    """Milliseconds since the epoch at which the id was made. ValueError when it isn't one of ours."""
    body = value.rpartition("_")[2]
    if len(body) != 26 or any(c not in _DECODE for c in body):
        raise ValueError(f"{value!r} is not an id of this system.")
    n = 0
    for c in body[:10]:
        n = n * 32 + _DECODE[c]
    return n
