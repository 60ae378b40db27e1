"""A usage event as the gateway writes it, read with its types: what decodes is within every bound that `rows` and `sanity`
hold an event to. What doesn't is read the long way, which says what is wrong with it; a test holds the two together."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from costs.books.sanity import MAX_ACCELERATOR_NS, MAX_COST_NUSD, MAX_TOKENS
from costs.models import LEGS, PURPOSES

Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
Money = Annotated[int, Meta(ge=0, le=MAX_COST_NUSD)]
Saving = Annotated[int, Meta(ge=-MAX_COST_NUSD, le=MAX_COST_NUSD)]
Small = Annotated[int, Meta(ge=0, le=32_767)]
Count = Annotated[int, Meta(ge=0, le=2_000_000_000)]
Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # nanoseconds
Name = Annotated[str, Meta(max_length=63)]
Key = Annotated[str, Meta(max_length=40)]
Purpose: Any = Literal[PURPOSES]  # type: ignore[valid-type]


class Saved(Struct, gc=False, frozen=True):
    cache: Saving = 0
    batch: Saving = 0


Legs: Any = msgspec.defstruct("Legs", [(leg, Money, 0) for leg in LEGS], forbid_unknown_fields=True, gc=False)
legs_of = attrgetter(*LEGS)
NOTHING_SAVED = Saved()


class Call(Struct, gc=False):
    """One upstream attempt of an event."""

    deployment: Name
    side: Literal["private", "external"]
    cost_nusd: Money
    at_ns: Time = 0
    attempt: Small = 0
    revision: Small = 0
    model: Annotated[str, Meta(max_length=120)] = ""
    node: Name | None = ""
    upstream_id: Annotated[str, Meta(max_length=80)] = ""
    status: Annotated[str, Meta(max_length=12)] = "ok"
    tokens_in: Tokens = 0
    tokens_out: Tokens = 0
    cached_tokens_in: Tokens = 0
    cache_write_tokens: Tokens = 0
    reasoning_tokens: Tokens = 0
    audio_tokens_in: Tokens = 0
    audio_tokens_out: Tokens = 0
    searches: Tokens = 0
    accelerator_ns: Annotated[int, Meta(ge=0, le=MAX_ACCELERATOR_NS)] = 0
    duration_ms: Annotated[float, Meta(ge=0, le=MAX_ACCELERATOR_NS / 1e6)] = 0.0
    batch: bool = False
    usage_source: Literal["reported", "estimated"] = "reported"
    price_version: Annotated[str, Meta(max_length=60)] = ""
    legs: Legs | None = None
    saved: Saved = NOTHING_SAVED


class UsageEvent(Struct, gc=False, kw_only=True):
    """What money needs of an event. `attempts` stays JSON until it is asked for: others keep it as it came."""

    kind: Literal["usage"]
    event_id: Annotated[str, Meta(min_length=1)]
    request_id: Key
    organisation_id: Id
    lob: Name
    at_ns: Time
    attempts: Raw = Raw(b"[]")
    application: Name = ""
    key_id: Key = ""
    workload: Name = ""
    deployment: str | None = ""
    purpose: Purpose = "answer"
    other_side_cost_nusd: Money | None = None
    answers: Count = 0
    origin: Literal["live", "demonstration", "job"] = "live"


UNREADABLE = (msgspec.MsgspecError, UnicodeError)
read_event = msgspec.json.Decoder(UsageEvent).decode
read_calls = msgspec.json.Decoder(list[Call]).decode
