"""A chat's answer and its chunks as a response and its typed events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from routing import shapes
from routing.contracts import KeyInfo
from switchyard.gateway.blocks import Block, Blocks, Step, blocks_of
from switchyard.gateway.edges import event
from switchyard.gateway.responses import keeping, shape
from switchyard.gateway.responses.asking import chat_of, check_kept
from switchyard.gateway.responses.items import items_of

WORDS = {
    "text": "output_text",
    "refusal": "refusal",
    "reasoning": "reasoning_text",
    "tool": "function_call_arguments",
}


class Responses:
    """One call of /v1/responses (switchyard.gateway.edges.Dialect)."""

    surface = "responses"
    ping = shapes.PING

    def __init__(self, shelf: keeping.Shelf) -> None:
        self.shelf = shelf
        self.body: dict[str, Any] = {}
        self.items: list[dict[str, Any]] = []
        self.key: KeyInfo | None = None
        self._response: dict[str, Any] = {}
        self._mark = ""
        self._blocks = Blocks()
        self._usage: dict[str, Any] | None = None
        self._logprobs: dict[Block, list[Any]] = {}
        self._number = 0

    @classmethod
    def of(cls, body: dict[str, Any]) -> Responses:
        """For an answer that is only shaped: nothing of it is kept."""
        dialect = cls(keeping.Shelf(None))
        dialect.body = body
        return dialect

    async def asked(self, body: dict[str, Any], key: KeyInfo) -> dict[str, Any]:
        check_kept(body)
        self.body, self.key, self.items = body, key, items_of(body.get("input"))
        earlier = await self.shelf.conversation(body.get("previous_response_id"), key)
        return chat_of(body, earlier, self.items)

    def headers(self, mark: str) -> list[tuple[bytes, bytes]]:
        return []

    def refused(self, status: int, body: dict[str, Any], mark: str) -> tuple[int, dict[str, Any]]:
        return status, body

    # ------------------------------------------------------------------------------------------------------ whole
    async def whole(self, answer: dict[str, Any], mark: str) -> dict[str, Any]:
        return await self._kept(self.shaped(answer, mark))

    def shaped(self, answer: dict[str, Any], mark: str) -> dict[str, Any]:
        """The response, not kept yet."""
        choice = answer["choices"][0]
        blocks = blocks_of(choice)
        probabilities = _logprobs_of(choice)
        items = [
            shape.item_of(b, mark, logprobs=probabilities if b.kind == "text" else None) for b in blocks.done
        ]
        response = shape.begun(self.body, mark) | {"model": answer.get("model")}
        return shape.ended(response, blocks, answer.get("usage"), items)

    async def _kept(self, response: dict[str, Any]) -> dict[str, Any]:
        """As it is kept, where it may be; `store` says whether it was."""
        if not response["store"] or self.key is None:
            return response
        mark = response["id"].partition("_")[2]
        return response | {"store": await self.shelf.keep(response, self.items, self.key, mark)}

    # ----------------------------------------------------------------------------------------------------- stream
    def frame(self, data: dict[str, Any], mark: str) -> bytes:
        out = b""
        if not self._mark:
            self._mark = mark
            self._response = shape.begun(self.body, mark) | {"model": data.get("model")}
            out = self._event("response.created", response=self._response)
            out += self._event("response.in_progress", response=self._response)
        if isinstance(data.get("usage"), dict):
            self._usage = data["usage"]
        for choice in data.get("choices") or ():
            if choice.get("index", 0) == 0:
                out += self._steps(self._blocks.feed(choice), _logprobs_of(choice))
        return out

    def _steps(self, steps: Iterable[Step], probabilities: list[Any] | None = None) -> bytes:
        out = b""
        for what, block, text in steps:
            if what == "open":
                out += self._opened(block)
            elif what == "more":
                more: dict[str, Any] = {"delta": text}
                if block.kind == "text":
                    more["logprobs"] = probabilities or []
                    self._logprobs.setdefault(block, []).extend(probabilities or [])
                out += self._event(f"response.{_words(block)}.delta", **self._place(block), **more)
            else:
                out += self._closed(block)
        return out

    def _place(self, block: Block) -> dict[str, Any]:
        told: dict[str, Any] = {"item_id": shape.item_id(block, self._mark), "output_index": block.place}
        return told if block.kind == "tool" else told | {"content_index": 0}

    def _opened(self, block: Block) -> bytes:
        item = shape.item_of(block, self._mark, status="in_progress")
        out = self._event("response.output_item.added", output_index=block.place, item=item)
        if block.kind != "tool":
            empty = shape.part_of(Block(block.kind, block.place))
            out += self._event("response.content_part.added", **self._place(block), part=empty)
        return out

    def _closed(self, block: Block) -> bytes:
        probabilities = self._logprobs.get(block)
        name, place = f"response.{_words(block)}.done", self._place(block)
        if block.custom:
            out = self._event(name, **place, input=block.text)
        elif block.kind == "tool":
            out = self._event(name, **place, arguments=block.text, name=block.name)
        elif block.kind == "refusal":
            out = self._event(name, **place, refusal=block.text)
        else:
            more = {"logprobs": probabilities or []} if block.kind == "text" else {}
            out = self._event(name, **place, text=block.text, **more)
        if block.kind != "tool":
            part = shape.part_of(block, probabilities)
            out += self._event("response.content_part.done", **place, part=part)
        item = shape.item_of(block, self._mark, logprobs=probabilities)
        return out + self._event("response.output_item.done", output_index=block.place, item=item)

    def _event(self, name: str, /, **data: Any) -> bytes:
        told = {"type": name, "sequence_number": self._number} | data
        self._number += 1
        return event(name, told)

    def _items(self) -> list[dict[str, Any]]:
        return [shape.item_of(b, self._mark, logprobs=self._logprobs.get(b)) for b in self._blocks.done]

    async def ended(self) -> bytes:
        out = self._steps(self._blocks.finish())
        response = shape.ended(self._response, self._blocks, self._usage, self._items())
        response = await self._kept(response)
        return out + self._event(f"response.{response['status']}", response=response)

    async def failed(self, error: dict[str, Any]) -> bytes:
        """Broken off: what was open isn't ended, and nothing of it is kept."""
        response = shape.failed(self._response, error, self._items()) | {"store": False}
        return self._event("response.failed", response=response)


def _words(block: Block) -> str:
    return "custom_tool_call_input" if block.custom else WORDS[block.kind]


def _logprobs_of(choice: dict[str, Any]) -> list[Any] | None:
    found = choice.get("logprobs")
    listed = found.get("content") if isinstance(found, dict) else None
    return listed if isinstance(listed, list) else None
