"""POST /v1/responses: through the pipeline at once, or in the background with its id as the answer."""

from __future__ import annotations

from typing import Any

import orjson

from routing.contracts import KeyInfo
from routing.intake.parsing import parse
from switchyard.core.clock import now_ns
from switchyard.core.errors import PolicyDenied, SwitchyardError
from switchyard.core.ids import new_id
from switchyard.gateway.bodies import ClientGone, handed_on, instead, read_json
from switchyard.gateway.edges import Authenticate, Receive, Scope, Translator, inner_receive
from switchyard.gateway.replies import Send, send_error, send_json
from switchyard.gateway.responses import background
from switchyard.gateway.responses.keeping import Shelf
from switchyard.gateway.responses.telling import Responses
from switchyard.gateway.versions import versioned

INNER = "chat/completions"


async def speak(front: Any, inside: Scope, receive: Receive, send: Send, authenticate: Authenticate) -> None:
    """`inside`: the scope of the chat it becomes. The body is read first: it says whether anybody waits."""
    dialect = Responses(Shelf(front))
    if inside["method"] != "POST" or front.draining:
        await front._v1(inside, receive, Translator(dialect, send), INNER)  # which refuses in words
        return
    headers: dict[bytes, bytes] = dict(inside["headers"][::-1])
    try:
        key = authenticate()
        send = versioned(send, front.keeper.world.organisations[key.organisation_id].policies, key.lob)
        raw, body = await read_json(receive, headers)
        if body.get("background") is True:
            await _in_background(front, dialect, body, headers, inside, key, send)
            return
    except SwitchyardError as error:
        await send_error(send, error, {"x-request-id": new_id("req")})
        return
    except ClientGone:
        return
    told = inner_receive(inside, _again(raw, body, receive), dialect, authenticate)
    await front._v1(inside, told, Translator(dialect, send), INNER)


def _again(raw: bytes, body: dict[str, Any], receive: Receive) -> Receive:
    """What was read already, then whatever else comes."""

    async def read() -> dict[str, Any]:
        return handed_on(raw, body)

    return instead(read, receive)


async def _in_background(
    front: Any, dialect: Responses, body: dict[str, Any], headers: dict[bytes, bytes], inside: Scope, key: KeyInfo, send: Send
) -> None:  # fmt: skip
    """Refused at once where it can be: nobody looks at an answer that may not wait."""
    chat = await dialect.asked(body, key)
    raw = orjson.dumps(chat)
    world = front.keeper.world.organisations[key.organisation_id]
    request_id = new_id("req")
    request = parse(
        endpoint=INNER, raw=raw, body=chat, headers=headers, key=key, world=world, request_id=request_id,
        decision_id="dec_" + request_id[4:], received_ns=now_ns(),
    )  # fmt: skip
    facts = front.office.desk.inspect(request, world, front.office.desk.live)
    if facts.sensitivity == "restricted" or not world.policies.keeps(facts, "log"):
        raise PolicyDenied(
            "Its answer may not be kept, so it can't wait for you here: ask without `background`."
        )

    async def carry(chat: dict[str, Any], collect: background.Send) -> None:
        await front._v1(inside, _alone(raw), collect, INNER)

    await send_json(send, 200, await background.begin(dialect, chat, key, carry))


def _alone(raw: bytes) -> Receive:
    """A body of a caller who doesn't wait and doesn't hang up."""

    async def take() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    return take
