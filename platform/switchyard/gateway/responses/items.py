"""Items of a conversation: messages, calls of functions and what came of them, as a chat's messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from switchyard.core.errors import InvalidRequest
from switchyard.core.ids import new_id

ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
WORDS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "custom_tool_call": "ctc",
            "custom_tool_call_output": "ctco", "reasoning": "rs"}  # fmt: skip
Item = dict[str, Any]


def items_of(value: Any) -> list[Item]:
    """`input` as items, each with a type and an id. Raises InvalidRequest."""
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise InvalidRequest("`input` must be text or a non-empty list of items.", param="input")
    items = []
    for i, item in enumerate(value):
        if not isinstance(item, dict):
            raise InvalidRequest("Each item of `input` is an object.", param=f"input[{i}]")
        kind = item.get("type") or "message"
        if not isinstance(kind, str) or kind not in PREFIXES:
            raise InvalidRequest(
                f"input[{i}] is of type {str(kind)[:40]!r}; expected one of {', '.join(PREFIXES)}.",
                param=f"input[{i}].type",
            )
        whole: Item = {"id": new_id(PREFIXES[kind])} | item | {"type": kind}
        if kind == "message" and isinstance(whole.get("content"), str):
            said = "output_text" if whole.get("role") == "assistant" else "input_text"
            whole["content"] = [{"type": said, "text": whole["content"]}]
        items.append(whole)
    return items


def chat_messages(items: Iterable[Item], name: str = "previous_response_id") -> list[dict[str, Any]]:
    """Calls that stand together belong to one message of the assistant. Thoughts stay with whoever had them."""
    messages: list[dict[str, Any]] = []
    for i, item in enumerate(items):
        where = f"{name}[{i}]" if name == "input" else name
        kind = item["type"]
        if kind == "message":
            messages.append(_message(item, where))
        elif kind in ("function_call", "custom_tool_call"):
            _add_call(messages, item, where)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            messages.append(_output(item, where))
    if not messages and name == "input":
        raise InvalidRequest("`input` holds nothing to answer.", param="input")
    return messages


def _message(item: Item, where: str) -> dict[str, Any]:
    role = item.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise InvalidRequest(
            "A message has the role user, assistant, system or developer.", param=f"{where}.role"
        )
    content = item.get("content")
    if not isinstance(content, list):
        raise InvalidRequest("`content` is text or a list of parts.", param=f"{where}.content")
    parts = [_part(part, f"{where}.content[{i}]") for i, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        text = "".join(part["text"] for part in parts)
        return {"role": ROLES[role], "content": text}
    return {"role": ROLES[role], "content": parts}


def _part(part: Any, where: str) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(kind, str) and kind in WORDS and isinstance(part.get(WORDS[kind]), str):
        return {"type": "text", "text": part[WORDS[kind]]}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"]} | detail}
    if kind == "input_file" and isinstance(part.get("file_data"), str):
        return {
            "type": "file",
            "file": {"filename": part.get("filename") or "file", "file_data": part["file_data"]},
        }
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": part["input_audio"]}
    raise InvalidRequest(
        f"{where} must be input_text, output_text, refusal, input_image with `image_url`, input_file with `file_data`, "
        "or input_audio.",
        param=where,
    )


def _add_call(messages: list[dict[str, Any]], item: Item, where: str) -> None:
    kind, said = ("custom", "input") if item["type"] == "custom_tool_call" else ("function", "arguments")
    if not all(isinstance(item.get(name), str) for name in ("call_id", "name", said)):
        raise InvalidRequest(f"{where} needs `call_id`, `name` and `{said}` as text.", param=where)
    call = {"id": item["call_id"], "type": kind, kind: {"name": item["name"], said: item[said]}}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _output(item: Item, where: str) -> dict[str, Any]:
    output = item.get("output")
    if isinstance(output, list):
        parts = [_part(part, f"{where}.output[{i}]") for i, part in enumerate(output)]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        output = "\n".join(texts) if len(texts) == len(parts) else parts
    elif not isinstance(output, str):
        raise InvalidRequest(f"{where}.output is text or a list of parts.", param=f"{where}.output")
    if not isinstance(item.get("call_id"), str) or not item["call_id"]:
        raise InvalidRequest(f"{where}.call_id is missing.", param=f"{where}.call_id")
    return {"role": "tool", "tool_call_id": item["call_id"], "content": output}
