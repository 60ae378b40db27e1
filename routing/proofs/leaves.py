"""What is sealed of one decision, and how a batch of them becomes bytes. Pure.

A leaf holds what a proof of residency rests on, and nothing else: who was asked, on which hop, on which side, under which
policy, for data of which class. It is made of text, whole numbers and flags only, so that what the database gives back
makes the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

GENESIS = "0" * 64
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DIGEST_BYTES = 16  # of SHA-256: enough to find a change; the chain itself uses all of it


def with_hops(sent: Sequence[tuple[str, str, bool]], shadow: bool) -> list[list[Any]]:
    """[deployment, side, hop, masked] of every time the data was sent; `sent`: (deployment, side, masked) in order."""
    told: list[list[Any]] = []
    before = ""
    for deployment, side, masked in sent:
        hop = "shadow" if shadow else "first" if not told else "retry" if deployment == before else "fallback"
        told.append([deployment, side, hop, masked])
        before = deployment
    return told


def attempts_of(detail: Mapping[str, Any]) -> list[list[Any]]:
    """As `with_hops`, of an event or a record's detail."""
    attempts = detail.get("attempts") or ()
    sent = [(a["deployment"], a["side"], bool(a.get("masked"))) for a in attempts]
    return with_hops(sent, detail.get("shadow") is not None)


class Line(NamedTuple):
    """A record as far as it is sealed. `at_us`: microseconds since the epoch, as the database keeps them."""

    organisation_id: int
    decision_id: str
    at_us: int
    lob: str
    sensitivity: str
    policy_hash: str
    attempts: Sequence[Sequence[Any]]  # of attempts_of

    def digest(self) -> bytes:
        return hashlib.sha256(orjson.dumps(self[1:])).digest()[:DIGEST_BYTES]


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)


def moment(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)


def packed(ids: Sequence[str], digests: Sequence[bytes]) -> bytes:
    """Both in one: the length of the ids' part, the ids (deflated), the digests in the same order."""
    names = zlib.compress("\n".join(ids).encode(), 6)
    return struct.pack(">I", len(names)) + names + b"".join(digests)


def unpacked(told: bytes) -> dict[str, bytes]:
    """Id → digest, in the order they were sealed. Raises ValueError for what was not packed here."""
    told = bytes(told)
    try:
        (length,) = struct.unpack_from(">I", told)
        ids = zlib.decompress(told[4 : 4 + length]).decode().split("\n")
    except (struct.error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"the leaves can't be read: {error}") from None
    rest = told[4 + length :]
    if len(rest) != DIGEST_BYTES * len(ids):
        raise ValueError(f"{len(ids)} ids and {len(rest)} bytes of digests")
    return {name: rest[DIGEST_BYTES * i : DIGEST_BYTES * (i + 1)] for i, name in enumerate(ids)}


def counted(lines: Sequence[Line]) -> dict[str, list[list[Any]]]:
    """Requests and attempts by what a proof asks for."""
    requests: Counter[tuple[str, str]] = Counter()
    attempts: Counter[tuple[str, str, str, str]] = Counter()
    for line in lines:
        requests[line.lob, line.sensitivity] += 1
        for _deployment, side, hop, _masked in line.attempts:
            attempts[line.lob, line.sensitivity, hop, side] += 1
    return {
        "requests": [[*key, n] for key, n in sorted(requests.items())],
        "attempts": [[*key, n] for key, n in sorted(attempts.items())],
    }


def head_of(
    *,
    previous: str,
    organisation_id: int,
    sequence: int,
    at: datetime,
    first_at: datetime,
    last_at: datetime,
    n: int,
    counts: Mapping[str, Any],
    leaves: bytes,
) -> str:
    """h_i = SHA256(h_{i-1} ‖ canonical JSON of the seal, its leaves by their SHA-256)."""
    told = {
        "organisation": organisation_id, "sequence": sequence, "n": n, "counts": counts,
        "at": at.isoformat(timespec="microseconds"), "first_at": first_at.isoformat(timespec="microseconds"),
        "last_at": last_at.isoformat(timespec="microseconds"), "leaves": hashlib.sha256(bytes(leaves)).hexdigest(),
    }  # fmt: skip
    return hashlib.sha256(previous.encode() + orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
