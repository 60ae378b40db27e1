"""Reading request bodies strictly: what is wrong is named, nothing is guessed."""

from __future__ import annotations

from typing import Any

from modelhub.serving.errors import invalid

MAX_ITEMS = 2048


def text_list(body: dict[str, Any], name: str = "input") -> list[str]:
    value = body.get(name)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise invalid(f"`{name}` must be a string or a non-empty list of strings.", name)
    if len(texts) > MAX_ITEMS:
        raise invalid(f"`{name}` has {len(texts)} items; at most {MAX_ITEMS} go in one request.", name)
    return texts


def records(body: dict[str, Any]) -> list[dict[str, Any]]:
    value = body.get("records")
    if not isinstance(value, list) or not value or not all(isinstance(r, dict) for r in value):
        raise invalid("`records` must be a non-empty list of objects.", "records")
    if len(value) > MAX_ITEMS:
        raise invalid(f"`records` has {len(value)} items; at most {MAX_ITEMS} go in one request.", "records")
    return value


def number(body: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(f"`{name}` must be a number in {low}..{high}.", name)
    return value


def stop_strings(body: dict[str, Any]) -> list[str]:
    value = body.get("stop")
    stops = [value] if isinstance(value, str) else (value or [])
    if not isinstance(stops, list) or len(stops) > 4 or not all(isinstance(s, str) and s for s in stops):
        raise invalid("`stop` must be a string or a list of at most 4 strings.", "stop")
    return stops


def content_text(content: Any) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list):
        return "".join(p.get("text", "") for p in content if isinstance(p, dict) and p.get("type") == "text")
    raise invalid("A message's `content` must be a string or a list of parts.", "messages")


def chat_messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages with their contents as plain text; what roles mean is the model's own affair."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise invalid("`messages` must be a non-empty list of objects.", "messages")
    return [m | {"content": content_text(m.get("content"))} for m in messages]


def completion_prompt(body: dict[str, Any]) -> str:
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str) or not prompt:
        raise invalid("`prompt` must be one non-empty string.", "prompt")
    return prompt
