"""A checked GatewayRequest out of headers and body."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from routing.apart import NOTHING, asked_apart
from routing.contracts import GatewayRequest, KeyInfo, Snapshot
from routing.inspection.sensitivity import declared
from routing.intake.resolve import resolve
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest
from switchyard.core.money import usd_to_nusd

MAX_CHOICES = 128
_CONTENT = (str, list, type(None))
# Price classes of vendors that ask no more than a sheet's price: its own, or that of work that may wait.
TIERS = ("auto", "default", "flex", "batch", "standard", "standard_only", "on_demand")
SURFACE = b":surface"  # how an edge says which endpoint its caller knows; no header of a caller can have a colon in its name


def parse(
    *,
    endpoint: str,
    raw: bytes,
    body: dict[str, Any],
    headers: Mapping[bytes, bytes],
    key: KeyInfo,
    world: Snapshot,
    request_id: str,
    decision_id: str,
    received_ns: int,
) -> GatewayRequest:
    """Raises InvalidRequest or ModelNotFound with the parameter that is wrong."""
    told, most = headers.get(b"x-switchyard-sensitivity"), headers.get(b"x-switchyard-max-cost-usd")
    sensitivity = declared(told.decode("latin-1")) if told else ""
    cap = _max_cost(most.decode("latin-1")) if most else None
    stream, include_usage = _stream(body, endpoint)
    _check_numbers(body)
    _check_money(body)
    if endpoint == "chat/completions":
        _check_messages(body)
    resolved = resolve(body.get("model"), endpoint, key, world)
    if resolved.task != "chat" or endpoint != "chat/completions":
        body = _inputs(endpoint, resolved.task, body)
    surface, control = headers.get(SURFACE), headers.get(b"cache-control")
    return GatewayRequest(
        request_id=request_id, decision_id=decision_id, key=key, endpoint=endpoint, task=resolved.task, body=body, raw=raw,
        received_ns=received_ns, workload=resolved.workload, wish=resolved.wish, version=resolved.version, stream=stream,
        include_usage=include_usage,
        declared_sensitivity=sensitivity, max_cost_nusd=cap,
        surface=surface.decode("latin-1") if surface else "", fresh=_wants_fresh(control) if control else False,
        apart=asked_apart(body, raw) if resolved.task in ("chat", "completion") else NOTHING,
    )  # fmt: skip


def _wants_fresh(control: bytes) -> bool:
    """`Cache-Control: no-cache` or `no-store`: neither given from what was kept, nor kept."""
    told = control.lower()
    return b"no-cache" in told or b"no-store" in told


def _max_cost(header: str) -> int | None:
    if not header.strip():
        return None
    try:
        value = Decimal(header.strip())
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0:
        raise InvalidRequest(
            "X-Switchyard-Max-Cost-Usd must be a decimal number of dollars.",
            param="X-Switchyard-Max-Cost-Usd",
        )
    return usd_to_nusd(value)


def _stream(body: dict[str, Any], endpoint: str) -> tuple[bool, bool]:
    stream = body.get("stream")
    if stream is None and "stream_options" not in body:
        return False, False
    if stream not in (None, True, False):
        raise InvalidRequest("`stream` must be true or false.", param="stream")
    options = body.get("stream_options")
    options = {} if options is None else options
    if not isinstance(options, dict):
        raise InvalidRequest("`stream_options` must be an object.", param="stream_options")
    if stream and endpoint not in ("chat/completions", "completions"):
        raise InvalidRequest("This endpoint does not stream.", param="stream")
    if options and not stream:
        raise InvalidRequest(
            "`stream_options` belongs to a stream: set `stream` to true.", param="stream_options"
        )
    if options.get("include_usage") not in (None, True, False):
        raise InvalidRequest(
            "`stream_options.include_usage` must be true or false.", param="stream_options.include_usage"
        )
    return bool(stream), bool(options.get("include_usage"))


def _check_numbers(body: dict[str, Any]) -> None:
    for name, low, high in (
        ("max_tokens", 1, 2**31),
        ("max_completion_tokens", 1, 2**31),
        ("n", 1, MAX_CHOICES),
        ("best_of", 1, MAX_CHOICES),
    ):
        value = body.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise InvalidRequest(
                f"`{name}` must be a whole number of at least {low} and at most {high}.", param=name
            )


def _check_money(body: dict[str, Any]) -> None:
    """What would cost otherwise than it was reserved for."""
    one, other = body.get("max_tokens"), body.get("max_completion_tokens")
    if one is not None and other is not None and one != other:
        raise InvalidRequest(
            "`max_tokens` and `max_completion_tokens` say different things: send one of them.",
            param="max_tokens",
        )
    tier = body.get("service_tier")
    if tier is not None and tier not in TIERS:
        raise InvalidRequest(
            f"`service_tier` {str(tier)[:40]} has a price of its own that no sheet here holds: leave it out.",
            param="service_tier",
        )


def _check_prompt(prompt: Any) -> None:
    """A text or several; numbers of tokens are refused as everywhere."""
    if isinstance(prompt, str):
        return
    if not isinstance(prompt, list) or not prompt:
        raise InvalidRequest("`prompt` must be a text or a non-empty list of texts.", param="prompt")
    if not all(isinstance(text, str) for text in prompt):
        raise InvalidRequest(
            "`prompt` holds tokens by number, or what is no text. They can't be looked through for personal data: send "
            "the texts.",
            param="prompt",
        )
    _check_count(prompt, "prompt")


def _check_messages(body: dict[str, Any]) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("`messages` must be a non-empty list.", param="messages")
    for i, message in enumerate(messages):
        if type(message) is dict and type(message.get("role")) is str and type(message.get("content")) is str:
            continue  # as nearly all are
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequest("Each message is an object with a `role`.", param=f"messages[{i}]")
        if not isinstance(message.get("content"), _CONTENT):
            raise InvalidRequest(
                "`content` is text, a list of parts, or null.", param=f"messages[{i}].content"
            )


def _inputs(endpoint: str, task: str, body: dict[str, Any]) -> dict[str, Any]:
    """Classification and prediction get a list of inputs, wherever the caller put them."""
    if endpoint == "chat/completions":
        if task == "classification":
            return body | {"input": [_last_user_text(body)]}
        if task == "prediction":
            return body | {"records": [_record(_last_user_text(body))]}
        return body
    if endpoint == "completions":
        _check_prompt(body.get("prompt"))
    if task == "moderation":
        body = body | {"input": _moderated(body.get("input"))}
    if task == "embedding":
        _check_vectors(body)
    if task in ("classification", "embedding", "moderation"):
        return _texts(body, task)
    if task == "prediction":
        return _records(body)
    return body


def _moderated(value: Any) -> Any:
    """OpenAI's list of parts as the texts in it; nothing else can be judged here."""
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return value
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in value):
        raise InvalidRequest("Only parts of type `text` can be judged.", param="input")
    return [part.get("text") for part in value]


def _check_vectors(body: dict[str, Any]) -> None:
    """Numbers of tokens are refused: what they say can't be inspected, and their vocabulary is nobody's here."""
    value = body.get("input")
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int | list):
        raise InvalidRequest(
            "`input` holds tokens by number. They can't be looked through for personal data: send the texts.",
            param="input",
        )
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise InvalidRequest("`encoding_format` is float or base64.", param="encoding_format")
    width = body.get("dimensions")
    if width is not None and (isinstance(width, bool) or not isinstance(width, int) or width < 1):
        raise InvalidRequest("`dimensions` must be a whole number of at least 1.", param="dimensions")


def _texts(body: dict[str, Any], task: str) -> dict[str, Any]:
    value = body.get("input")
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
        raise InvalidRequest(
            "`input` must be a text or a non-empty list of texts, none of them empty.", param="input"
        )
    _check_count(texts, "input")
    return body if task == "embedding" else body | {"input": texts}


def _records(body: dict[str, Any]) -> dict[str, Any]:
    records = body.get("records")
    if not isinstance(records, list) or not records or not all(isinstance(r, dict) and r for r in records):
        raise InvalidRequest("`records` must be a non-empty list of objects.", param="records")
    _check_count(records, "records")
    return body


def _check_count(items: list[Any], name: str) -> None:
    limit = conf("BATCH_MAX_ITEMS")
    if len(items) > limit:
        raise InvalidRequest(
            f"`{name}` has {len(items)} items; at most {limit} go into one request.", param=name
        )


def _last_user_text(body: dict[str, Any]) -> str:
    for message in reversed(body["messages"]):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, list):
            parts = [p.get("text") for p in content if isinstance(p, dict) and p.get("type") == "text"]
            content = "".join(p for p in parts if isinstance(p, str))
        if isinstance(content, str) and content.strip():
            return content
        break
    raise InvalidRequest("The last user message is the input, and it is empty or missing.", param="messages")


def _record(text: str) -> dict[str, Any]:
    """The JSON record in a message, with or without words around it."""
    start, end = text.find("{"), text.rfind("}")
    try:
        record = orjson.loads(text[start : end + 1]) if 0 <= start < end else None
    except orjson.JSONDecodeError:
        record = None
    if not isinstance(record, dict) or not record:
        raise InvalidRequest(
            "A prediction workload takes a JSON record in the last user message.", param="messages"
        )
    return record
