"""A chat's answer as blocks one after another: reasoning, text, refusals, calls of tools, wherever their pieces came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from routing.execution.sse import words

Kind = Literal["text", "refusal", "reasoning", "tool"]
# Where a message keeps each kind of text; the first name that is there counts.
TEXTS: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("reasoning", ("reasoning_content", "reasoning")), ("text", ("content",)), ("refusal", ("refusal",)),
)  # fmt: skip
Step = tuple[Literal["open", "more", "close"], "Block", str]


@dataclass(slots=True, eq=False)
class Block:
    """`text`: what came so far; of a tool the JSON of its arguments, or free text where it is a `custom` one."""

    kind: Kind
    place: int
    call_id: str = ""
    name: str = ""
    text: str = ""
    custom: bool = False


@dataclass
class Blocks:
    """feed(delta or message) → steps. One block is open at a time; pieces of another wait until the open one has ended.

    Servers may mix the pieces of several calls in one stream, while typed events know one block after another: the first of
    them is passed on as it comes, the rest whole at the end.
    """

    done: list[Block] = field(default_factory=list)
    finish_reason: str = ""
    stop_sequence: str | None = None
    _open: Block | None = None
    _calls: dict[Any, Block] = field(default_factory=dict)
    _waiting: list[Block] = field(default_factory=list)

    def feed(self, choice: dict[str, Any]) -> Iterator[Step]:
        """`choice`: of a chunk (`delta`) or of a whole answer (`message`)."""
        said = choice.get("delta") or choice.get("message") or {}
        for kind, names in TEXTS:
            text = next((text for name in names if (text := words(said.get(name)))), "")
            if text:
                yield from self._text(kind, text)
        calls = [
            call for call in said.get("tool_calls") or () if isinstance(call, dict)
        ]  # a list, as was looked at
        if isinstance(said.get("function_call"), dict):
            calls.append({"index": "function_call", "function": said["function_call"]})
        for place, call in enumerate(calls):
            yield from self._call(call.get("index", place), call)
        ended = choice.get("finish_reason")
        self.finish_reason = ended if isinstance(ended, str) and ended else self.finish_reason
        told = choice.get("stop_reason")  # as vLLM tells which of the stop strings it met
        self.stop_sequence = told if isinstance(told, str) else self.stop_sequence

    def finish(self) -> Iterator[Step]:
        """Whatever is open or waits, ended."""
        yield from self._close()
        for block in self._waiting:
            text, block.text = block.text, ""
            yield from self._begin(block)
            if text:
                yield self._more(text)
            yield from self._close()
        self._waiting.clear()

    def _text(self, kind: Kind, text: str) -> Iterator[Step]:
        if self._open is not None and self._open.kind == "tool":
            last = self._waiting[-1] if self._waiting else None
            if last is None or last.kind != kind:
                last = Block(kind, 0)
                self._waiting.append(last)
            last.text += text
            return
        if self._open is None or self._open.kind != kind:
            yield from self._close()
            yield from self._begin(Block(kind, 0))
        yield self._more(text)

    def _call(self, index: Any, call: dict[str, Any]) -> Iterator[Step]:
        part = call.get("function") or call.get("custom") or {}
        part = part if isinstance(part, dict) else {}
        index = index if isinstance(index, int | str) else repr(index)
        pieces = part.get("arguments") if "arguments" in part else part.get("input")
        block = self._calls.get(index)
        if block is None:
            custom = not call.get("function") and isinstance(call.get("custom"), dict)
            block = Block("tool", 0, str(call.get("id") or ""), str(part.get("name") or ""), custom=custom)
            self._calls[index] = block
            if self._open is not None and self._open.kind == "tool":
                self._waiting.append(block)
            else:
                yield from self._close()
                yield from self._begin(block)
        if not isinstance(pieces, str) or not pieces:
            return
        if block is self._open:
            yield self._more(pieces)
        else:
            block.text += pieces

    def _begin(self, block: Block) -> Iterator[Step]:
        block.place = len(self.done)
        block.call_id = block.call_id or f"call_{block.place}"
        self._open = block
        yield "open", block, ""

    def _more(self, text: str) -> Step:
        assert self._open is not None
        self._open.text += text
        return "more", self._open, text

    def _close(self) -> Iterator[Step]:
        if self._open is not None:
            block, self._open = self._open, None
            self.done.append(block)
            yield "close", block, ""


def blocks_of(choice: dict[str, Any]) -> Blocks:
    """Those of a whole answer."""
    found = Blocks()
    for _ in (*found.feed(choice), *found.finish()):
        pass
    return found
