"""A body of /v1/responses as a chat request. What isn't a chat's is kept here, not sent on: nothing is stored at a vendor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from switchyard.core.errors import InvalidRequest
from switchyard.gateway.responses.items import chat_messages

# Read here, and written into the answer; everything else passes as it is, as any field does that we don't know.
OURS = {
    "input", "instructions", "previous_response_id", "max_output_tokens", "tools", "tool_choice", "text", "reasoning",
    "store", "background", "metadata", "truncation", "include", "max_tool_calls", "stream_options", "top_logprobs",
    "conversation", "prompt", "stream",
}  # fmt: skip
ELSEWHERE = {
    "conversation": "keep the conversation with `previous_response_id`, or send it whole in `input`",
    "prompt": "send the prompt's text in `instructions` and `input`",
}
LOGPROBS = "message.output_text.logprobs"


def chat_of(
    body: dict[str, Any], earlier: Iterable[dict[str, Any]], own: list[dict[str, Any]]
) -> dict[str, Any]:
    """`earlier`: items of the responses before this one, `own`: those of `input`. Raises InvalidRequest."""
    for name, instead in ELSEWHERE.items():
        if body.get(name) is not None:
            raise InvalidRequest(f"`{name}` is not known here: {instead}.", param=name)
    chat = {name: value for name, value in body.items() if name not in OURS}
    instructions = body.get("instructions")
    if instructions is not None and not isinstance(instructions, str):
        raise InvalidRequest("`instructions` must be text.", param="instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    chat["messages"] = [*system, *chat_messages(earlier), *chat_messages(own, "input")]
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = _cap(body["max_output_tokens"])
    if body.get("tools"):
        chat["tools"] = _tools(body["tools"])
    if body.get("tool_choice") is not None:
        chat["tool_choice"] = _choice(body["tool_choice"])
    chat |= _text(body.get("text")) | _reasoning(body.get("reasoning")) | _logprobs(body)
    if body.get("stream") is not None:
        chat["stream"] = body["stream"]
    if body.get("stream") is True:
        chat["stream_options"] = {"include_usage": True}
    return chat


def check_kept(body: dict[str, Any]) -> None:
    """What concerns keeping. Raises InvalidRequest."""
    for name in ("store", "background"):
        if body.get(name) not in (None, True, False):
            raise InvalidRequest(f"`{name}` must be true or false.", param=name)
    if body.get("background") and body.get("store") is False:
        raise InvalidRequest(
            "A response in the background is kept until it is fetched: `store` can't be false.", param="store"
        )
    if body.get("background") and body.get("stream"):
        raise InvalidRequest(
            "A response in the background isn't streamed here: fetch it by its id.", param="stream"
        )
    metadata = body.get("metadata")
    if metadata is None:
        return
    fits = isinstance(metadata, dict) and len(metadata) <= 16
    if not fits or not all(
        isinstance(v, str) and len(k) <= 64 and len(v) <= 512 for k, v in metadata.items()
    ):
        raise InvalidRequest(
            "`metadata` holds up to 16 pairs of text, names of 64 characters and values of 512.",
            param="metadata",
        )


def _cap(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidRequest(
            "`max_output_tokens` must be a whole number of at least 1.", param="max_output_tokens"
        )
    return value


def _tools(tools: Any) -> list[dict[str, Any]]:
    if not isinstance(tools, list):
        raise InvalidRequest("`tools` must be a list.", param="tools")
    told = []
    for i, tool in enumerate(tools):
        where = f"tools[{i}]"
        if not isinstance(tool, dict) or tool.get("type") not in ("function", "custom"):
            raise InvalidRequest(
                f"{where} is a tool that its vendor runs; only functions and custom tools that you run yourself can be named.",
                param=f"{where}.type",
            )
        if not isinstance(tool.get("name"), str) or not tool["name"]:
            raise InvalidRequest(f"{where}.name is missing.", param=f"{where}.name")
        if tool["type"] == "custom":
            told.append({"type": "custom", "custom": _custom(tool)})
            continue
        names = ("name", "description", "parameters", "strict")
        function = {name: tool[name] for name in names if tool.get(name) is not None}
        told.append({"type": "function", "function": function})
    return told


def _custom(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool of free text; a chat has its grammar one level deeper."""
    told = {name: tool[name] for name in ("name", "description", "format") if tool.get(name) is not None}
    form = told.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        told["format"] = {
            "type": "grammar", "grammar": {name: value for name, value in form.items() if name != "type"},
        }  # fmt: skip
    return told


def _choice(choice: Any) -> Any:
    if choice in ("auto", "none", "required"):
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind in ("function", "custom") and isinstance(choice.get("name"), str):
        return {"type": kind, kind: {"name": choice["name"]}}
    if kind == "allowed_tools" and isinstance(choice.get("tools"), list):
        named = [
            {"type": kind, kind: {"name": t.get("name")}}
            for t in choice["tools"]
            if isinstance(t, dict)
            for kind in ["custom" if t.get("type") == "custom" else "function"]
        ]
        return {
            "type": "allowed_tools",
            "allowed_tools": {"mode": choice.get("mode", "auto"), "tools": named},
        }
    raise InvalidRequest(
        "`tool_choice` is auto, none, required, {type: function | custom, name} or {type: allowed_tools, mode, tools}.",
        param="tool_choice",
    )


def _text(text: Any) -> dict[str, Any]:
    if text is None:
        return {}
    form = (text.get("format") or {"type": "text"}) if isinstance(text, dict) else None
    kind = form.get("type") if isinstance(form, dict) else None
    told: dict[str, Any] = {}
    if kind == "json_object":
        told["response_format"] = {"type": "json_object"}
    elif kind == "json_schema" and isinstance(form, dict):
        names = ("name", "description", "schema", "strict")
        told["response_format"] = {
            "type": "json_schema", "json_schema": {n: form[n] for n in names if form.get(n) is not None},
        }  # fmt: skip
    elif kind != "text":
        raise InvalidRequest("`text.format.type` is text, json_object or json_schema.", param="text.format")
    if text.get("verbosity") is not None:
        told["verbosity"] = text["verbosity"]
    return told


def _reasoning(reasoning: Any) -> dict[str, Any]:
    if reasoning is None:
        return {}
    if not isinstance(reasoning, dict):
        raise InvalidRequest("`reasoning` must be an object.", param="reasoning")
    return {"reasoning_effort": reasoning["effort"]} if reasoning.get("effort") is not None else {}


def _logprobs(body: dict[str, Any]) -> dict[str, Any]:
    asked = isinstance(body.get("include"), list) and LOGPROBS in body["include"]
    if body.get("top_logprobs"):
        return {"logprobs": True, "top_logprobs": body["top_logprobs"]}
    return {"logprobs": True} if asked else {}
