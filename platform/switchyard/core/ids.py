"""Sortable prefixed ids: prefix + 48 bits of milliseconds + 80 random bits in Crockford base 32 (ULID)."""

import os
import time

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DECODE = {c: i for i, c in enumerate(ALPHABET)}
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]  # ten bits at a time
_FIVE_BITS = bytes(ord(ALPHABET[byte % 32]) for byte in range(256))  # of each random byte, as a character
_DRAWN_AT_ONCE = 256
_drawn: list[
    str
] = []  # random halves of ids to come: asking the kernel for each costs as much as all the rest
os.register_at_fork(after_in_child=_drawn.clear)  # a child must not give what its parent gives
_last = (-1, "")  # the millisecond told last, and its ten characters


def new_id(prefix: str, at_ms: int | None = None) -> str:
    """`prefix_` and 26 characters that sort by time."""
    global _last
    ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    known, when = _last  # read and set as a whole: other threads make ids too
    if known != ms:
        when = "".join([_PAIRS[(ms >> shift) & 1023] for shift in (40, 30, 20, 10, 0)])
        _last = (ms, when)
    try:
        return f"{prefix}_{when}{_drawn.pop()}"
    except IndexError:
        return f"{prefix}_{when}{_draw()}"


def _draw() -> str:
    """80 random bits as sixteen characters; the next ones are drawn along."""
    chars = os.urandom(16 * _DRAWN_AT_ONCE).translate(_FIVE_BITS).decode("ascii")
    first, *others = [chars[i : i + 16] for i in range(0, len(chars), 16)]
    _drawn.extend(others)
    return first


def id_time_ms(value: str) -> int:
    """Milliseconds since the epoch at which the id was made. ValueError when it isn't one of ours."""
    body = value.rpartition("_")[2]
    if len(body) != 26 or any(c not in _DECODE for c in body):
        raise ValueError(f"{value!r} is not an id of this system.")
    n = 0
    for c in body[:10]:
        n = n * 32 + _DECODE[c]
    return n
