"""A body of /v1/messages as a chat request: every text of it is in the chat, so that inspection and reservation see it."""

from __future__ import annotations

from typing import Any

import orjson

from switchyard.core.errors import InvalidRequest

# What both shapes name alike passes as it is, as any field does that we don't know.
TRANSLATED = {
    "messages", "system", "stop_sequences", "metadata", "tools", "tool_choice", "thinking", "stream", "stream_options", "n",
    "service_tier",
}  # fmt: skip
CHOICES = {"auto": "auto", "any": "required", "none": "none"}
Part = dict[str, Any]


def chat_of(body: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidRequest with the parameter by its name in this shape."""
    if body.get("max_tokens") is None:
        raise InvalidRequest("`max_tokens` is missing: this endpoint asks for it.", param="max_tokens")
    chat = {name: value for name, value in body.items() if name not in TRANSLATED}
    chat["messages"] = [*_system(body.get("system")), *_messages(body.get("messages"))]
    if (stops := body.get("stop_sequences")) is not None:
        if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
            raise InvalidRequest("`stop_sequences` must be a list of texts.", param="stop_sequences")
        chat |= {"stop": stops} if stops else {}
    if isinstance(body.get("metadata"), dict) and isinstance(body["metadata"].get("user_id"), str):
        chat["user"] = body["metadata"]["user_id"]
    if body.get("tools"):
        chat["tools"] = [_tool(tool, i) for i, tool in enumerate(_listed(body["tools"], "tools"))]
    if body.get("tool_choice") is not None:
        chat |= _choice(body["tool_choice"])
    if body.get("service_tier") == "standard_only":  # its "auto" is what a chat does anyway
        chat["service_tier"] = "default"
    if body.get("stream") is not None:
        chat["stream"] = body["stream"]
    if body.get("stream") is True:
        chat["stream_options"] = {"include_usage": True}
    return chat


def _listed(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InvalidRequest(f"`{name}` must be a non-empty list.", param=name)
    return value


def _system(value: Any) -> list[Part]:
    if value is None or value == "" or value == []:
        return []
    if isinstance(value, str):
        return [{"role": "system", "content": value}]
    texts = [_text(block, f"system[{i}]") for i, block in enumerate(_listed(value, "system"))]
    return [{"role": "system", "content": [{"type": "text", "text": text} for text in texts]}]


def _text(block: Any, where: str) -> str:
    if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
        raise InvalidRequest(f"{where} must be a block of type `text` with its `text`.", param=where)
    return block["text"]


# ---------------------------------------------------------------------------------------------------------- messages
def _messages(value: Any) -> list[Part]:
    told: list[Part] = []
    for i, message in enumerate(_listed(value, "messages")):
        where = f"messages[{i}]"
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            raise InvalidRequest(
                "Each message has the role `user` or `assistant`; instructions go into `system`.",
                param=f"{where}.role",
            )
        content = message.get("content")
        if isinstance(content, str):
            told.append({"role": role, "content": content})
        elif isinstance(content, list) and content:
            told += (_by_user if role == "user" else _by_assistant)(content, f"{where}.content")
        else:
            raise InvalidRequest("`content` is text or a non-empty list of blocks.", param=f"{where}.content")
    return told


def _by_user(blocks: list[Any], where: str) -> list[Part]:
    """Results of tools are messages of their own and come first: a chat wants them right behind the calls. Their pictures
    and files follow as the user's: the result of a tool is text there."""
    results: list[Part] = []
    parts: list[Part] = []
    for i, block in enumerate(blocks):
        place = f"{where}[{i}]"
        if _kind(block) == "tool_result":
            result, shown = _result(block, place)
            results.append(result)
            parts += shown
        else:
            parts.append(_part(block, place))
    return [*results, {"role": "user", "content": parts}] if parts else results


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    return kind if isinstance(kind, str) else ""


def _part(block: Any, where: str) -> Part:
    """Text, an image or a document as a part of a chat message."""
    kind = _kind(block)
    if kind == "text":
        return {"type": "text", "text": _text(block, where)}
    make = {"image": _image, "document": _document}.get(kind)
    if make is None:
        raise InvalidRequest(
            f"{where} is of type {kind[:40]!r}; expected text, image, document or tool_result.", param=where
        )
    source = block.get("source")
    if not isinstance(source, dict) or not isinstance(source.get("type"), str):
        raise InvalidRequest(f"{where}.source must be an object with a `type`.", param=f"{where}.source")
    return make(block, source, f"{where}.source")


def _image(block: Part, source: Part, where: str) -> Part:
    return {"type": "image_url", "image_url": {"url": _url(source, where)}}


def _document(block: Part, source: Part, where: str) -> Part:
    if source["type"] == "text" and isinstance(source.get("data"), str):
        return {"type": "text", "text": source["data"]}
    name = block.get("title") if isinstance(block.get("title"), str) else "document.pdf"
    return {"type": "file", "file": {"filename": name, "file_data": _url(source, where)}}


def _url(source: Part, where: str) -> str:
    if source["type"] == "url" and isinstance(source.get("url"), str):
        return source["url"]
    media, data = source.get("media_type"), source.get("data")
    if source["type"] == "base64" and isinstance(media, str) and isinstance(data, str):
        return f"data:{media};base64,{data}"
    raise InvalidRequest(
        f"{where} must be {{type: base64, media_type, data}} or {{type: url, url}}.", param=where
    )


def _result(block: Part, where: str) -> tuple[Part, list[Part]]:
    """(the tool's message, what of it is no text)"""
    shown: list[Part] = []
    call_id, content = block.get("tool_use_id"), block.get("content", "")
    if not isinstance(call_id, str) or not call_id:
        raise InvalidRequest(f"{where}.tool_use_id is missing.", param=f"{where}.tool_use_id")
    if isinstance(content, list):
        found = [_part(item, f"{where}.content[{i}]") for i, item in enumerate(content)]
        shown = [part for part in found if part["type"] != "text"]
        texts = [part["text"] for part in found if part["type"] == "text"]
        content = "\n".join(texts or (["See what follows."] if shown else []))
        if shown:
            shown.insert(0, {"type": "text", "text": f"What {call_id} gave:"})
    elif not isinstance(content, str):
        raise InvalidRequest(f"{where}.content is text or a list of blocks.", param=f"{where}.content")
    if block.get("is_error") is True:
        content = f"Error: {content}"  # a chat has no other place for it
    return {"role": "tool", "tool_call_id": call_id, "content": content}, shown


def _by_assistant(blocks: list[Any], where: str) -> list[Part]:
    """One message: its texts, and its calls of tools. Thoughts stay with whoever had them."""
    texts: list[str] = []
    calls: list[Part] = []
    for i, block in enumerate(blocks):
        kind, place = _kind(block), f"{where}[{i}]"
        if kind == "text":
            texts.append(_text(block, place))
        elif kind == "tool_use":
            calls.append(_call(block, place))
        elif kind not in ("thinking", "redacted_thinking"):
            raise InvalidRequest(
                f"{place} is of type {kind[:40]!r}; expected text, tool_use or thinking.", param=place
            )
    message: Part = {"role": "assistant", "content": "".join(texts) or None}
    if calls:
        message["tool_calls"] = calls
    elif not texts:
        message["content"] = ""
    return [message]


def _call(block: Part, where: str) -> Part:
    if not isinstance(block.get("id"), str) or not isinstance(block.get("name"), str):
        raise InvalidRequest(f"{where} needs `id` and `name`.", param=where)
    if not isinstance(block.get("input", {}), dict):
        raise InvalidRequest(f"{where}.input must be an object.", param=f"{where}.input")
    arguments = orjson.dumps(block.get("input", {})).decode()
    return {
        "id": block["id"],
        "type": "function",
        "function": {"name": block["name"], "arguments": arguments},
    }


# ------------------------------------------------------------------------------------------------------------- tools
def _tool(tool: Any, place: int) -> Part:
    where = f"tools[{place}]"
    if not isinstance(tool, dict) or tool.get("type") not in (None, "custom"):
        raise InvalidRequest(
            f"{where} is a tool that its vendor runs; only tools that you run yourself can be named.",
            param=where,
        )
    if not isinstance(tool.get("name"), str) or not isinstance(tool.get("input_schema"), dict):
        raise InvalidRequest(f"{where} needs `name` and `input_schema`.", param=where)
    function: Part = {"name": tool["name"], "parameters": tool["input_schema"]}
    for name, fits in (("description", str), ("strict", bool)):
        if isinstance(tool.get(name), fits):
            function[name] = tool[name]
    return {"type": "function", "function": function}


def _choice(choice: Any) -> dict[str, Any]:
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "tool" and isinstance(choice.get("name"), str):
        told: dict[str, Any] = {"tool_choice": {"type": "function", "function": {"name": choice["name"]}}}
    elif isinstance(kind, str) and kind in CHOICES:
        told = {"tool_choice": CHOICES[kind]}
    else:
        raise InvalidRequest(
            "`tool_choice` is {type: auto | any | none} or {type: tool, name}.", param="tool_choice"
        )
    if choice.get("disable_parallel_tool_use") is True:
        told["parallel_tool_calls"] = False
    return told
