"""The response object, its output items, and what an ended chat says of itself in its words."""

from __future__ import annotations

import time
from typing import Any

from routing.execution.usage import read_usage
from switchyard.gateway.blocks import Block, Blocks

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
ECHOED: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "max_tool_calls": None, "previous_response_id": None,
    "prompt_cache_key": None, "safety_identifier": None, "service_tier": "default", "temperature": 1.0, "top_p": 1.0,
    "tool_choice": "auto", "tools": [], "top_logprobs": 0, "truncation": "disabled", "user": None, "metadata": {},
    "parallel_tool_calls": True,
}  # fmt: skip


def begun(body: dict[str, Any], mark: str, *, status: str = "in_progress") -> dict[str, Any]:
    """A response of which nothing is known yet but what was asked."""
    told = {name: usual if body.get(name) is None else body[name] for name, usual in ECHOED.items()}
    reasoning = body.get("reasoning") or {}
    return {
        "id": f"resp_{mark}", "object": "response", "created_at": int(time.time()), "status": status,
        "background": bool(body.get("background")), "error": None, "incomplete_details": None, "output": [],
        "model": body.get("model"), "usage": None, "store": body.get("store") is not False,
        "text": {"format": {"type": "text"}} | (body.get("text") or {}),
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
    } | told  # fmt: skip


def ended(
    response: dict[str, Any], blocks: Blocks, usage: Any, items: list[dict[str, Any]]
) -> dict[str, Any]:
    why = INCOMPLETE.get(blocks.finish_reason)
    return response | {
        "status": "incomplete" if why else "completed", "output": items, "usage": usage_of(usage),
        "incomplete_details": {"reason": why} if why else None,
    }  # fmt: skip


def failed(response: dict[str, Any], error: dict[str, Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    told = {"code": error.get("code") or "server_error", "message": error.get("message") or ""}
    return response | {"status": "failed", "error": told, "output": items}


def usage_of(usage: Any) -> dict[str, Any]:
    used = read_usage(usage)
    told: dict[str, Any] = {
        "input_tokens": used.tokens_in, "input_tokens_details": {"cached_tokens": used.cached_tokens_in},
        "output_tokens": used.tokens_out, "output_tokens_details": {"reasoning_tokens": used.reasoning_tokens},
        "total_tokens": used.tokens_in + used.tokens_out,
    }  # fmt: skip
    if isinstance(usage, dict) and "switchyard" in usage:
        told["switchyard"] = usage["switchyard"]
    return told


def item_id(block: Block, mark: str) -> str:
    prefix = "ctc" if block.custom else {"tool": "fc", "reasoning": "rs"}.get(block.kind, "msg")
    return f"{prefix}_{mark}{block.place:02d}"


def part_of(block: Block, logprobs: list[Any] | None = None) -> dict[str, Any]:
    """What a message or a thought consists of."""
    if block.kind == "refusal":
        return {"type": "refusal", "refusal": block.text}
    if block.kind == "reasoning":
        return {"type": "reasoning_text", "text": block.text}
    return {"type": "output_text", "annotations": [], "logprobs": logprobs or [], "text": block.text}


def item_of(
    block: Block, mark: str, *, status: str = "completed", logprobs: list[Any] | None = None
) -> dict[str, Any]:
    """An output item; one that is in progress is empty."""
    filled = status != "in_progress"
    told: dict[str, Any] = {"id": item_id(block, mark)}
    if block.kind == "tool":
        arguments = block.text if filled else ""
        if block.custom:
            return told | {
                "type": "custom_tool_call", "call_id": block.call_id, "name": block.name, "input": arguments,
            }  # fmt: skip
        return told | {
            "type": "function_call", "status": status, "call_id": block.call_id, "name": block.name,
            "arguments": arguments,
        }  # fmt: skip
    content = [part_of(block, logprobs)] if filled else []
    if block.kind == "reasoning":
        return told | {"type": "reasoning", "summary": [], "content": content}
    return told | {"type": "message", "status": status, "role": "assistant", "content": content}
