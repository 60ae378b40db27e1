"""Which endpoints are spoken in other words, and how such a call is carried through the one pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from routing.contracts import KeyInfo
from switchyard.gateway.desk import Office
from switchyard.gateway.edges import (
    Dialect,
    Receive,
    Scope,
    Translator,
    inner_receive,
    inner_scope,
)
from switchyard.gateway.keys import KeyRing
from switchyard.gateway.messages.listing import Counts, Models
from switchyard.gateway.messages.telling import Messages
from switchyard.gateway.replies import Send
from switchyard.gateway.responses import calls
from switchyard.gateway.responses.keeping import Shelf
from switchyard.gateway.responses.telling import Responses
from switchyard.gateway.snapshot import SnapshotKeeper

ANTHROPIC = b"anthropic-version"


class Front(Protocol):
    """What a call needs of its process (switchyard.gateway.front.GatewayFront)."""

    ring: KeyRing
    keeper: SnapshotKeeper
    office: Office | None
    draining: bool

    def _v1(self, scope: Scope, receive: Receive, send: Send, path: str) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Spoken:
    """`inner`: the endpoint that does the work; `reads`: whether the body is translated for it."""

    make: Callable[[Front], Dialect]
    inner: str
    reads: bool = True


_MESSAGES = Spoken(lambda front: Messages(), "chat/completions")
_COUNTS = Spoken(lambda front: Counts(), "messages/count_tokens", reads=False)
DIALECTS: dict[str, Spoken] = {
    "messages": _MESSAGES,
    "messages/count_tokens": _COUNTS,
    "responses": Spoken(lambda front: Responses(Shelf(front)), "chat/completions"),
}


def dialect_for(path: str, scope: Scope) -> Spoken | None:
    """None for what is spoken here in OpenAI's words. The list of models is told in the words of who asks."""
    if path.startswith("models") and any(name == ANTHROPIC for name, _ in scope["headers"]):
        return Spoken(lambda front: Models(), path, reads=False)
    return DIALECTS.get(path)


async def speak(front: Front, spoken: Spoken, scope: Scope, receive: Receive, send: Send) -> None:
    dialect = spoken.make(front)
    inside = inner_scope(scope, dialect, spoken.inner)
    headers: dict[bytes, bytes] = dict(inside["headers"][::-1])

    def authenticate() -> KeyInfo:
        return front.ring.authenticate(headers.get(b"authorization", b""), front.keeper.world)

    if isinstance(dialect, Responses):
        await calls.speak(front, inside, receive, send, authenticate)
        return
    if spoken.reads:
        receive = inner_receive(scope, receive, dialect, authenticate)
    await front._v1(inside, receive, Translator(dialect, send), spoken.inner)
