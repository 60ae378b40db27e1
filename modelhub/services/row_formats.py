"""Uploaded rows out of bytes: JSON lines of {text, label}, {messages} or {prompt, completion}, and CSV, line by line.

pieces of bytes → lines of text → (line number, row or what is wrong with it)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from modelhub.services.row_faults import fault
from modelhub.services.row_tables import header_of, read_table
from switchyard.core.errors import ValidationFailed

MAX_LINE = 2 * 1024 * 1024
MAX_TEXT, MAX_LABEL, MAX_MESSAGES = 20_000, 200, 200
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
UTF16 = (b"\xff\xfe", b"\xfe\xff")
NOT_TEXT = {
    b"PK\x03\x04": "a workbook or a zip archive: export its rows as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook: export its rows as CSV",
    b"\x1f\x8b": "packed by gzip: unpack it first",
    b"PAR1": "a Parquet file: export its rows as CSV or JSON lines",
    b"%PDF-": "a PDF: only rows of text can be learnt from",
}  # first bytes → what somebody picked by mistake, and what to do
EXPECTED = (
    'one JSON object a line, as {"text": …, "label": …} or {"messages": [{"role": …, "content": …}, …]}, '
    "or CSV whose first line names `text` and `label`"
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its label."""

    text: str
    label: str

    def line(self) -> bytes:
        return json.dumps({"text": self.text, "label": self.label}).encode() + b"\n"

    @property
    def whole(self) -> str:
        return self.text + "\n" + self.label


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation that ends with what the model is to learn."""

    messages: tuple[tuple[str, str], ...]  # (role, content)

    def line(self) -> bytes:
        told = [{"role": role, "content": content} for role, content in self.messages]
        return json.dumps({"messages": told}).encode() + b"\n"

    @property
    def whole(self) -> str:
        return "\n".join(content for _, content in self.messages)

    @property
    def asked(self) -> str:
        """Everything before the last answer."""
        return "\n".join(content for _, content in self.messages[:-1])

    @property
    def answer(self) -> str:
        return self.messages[-1][1]

    @property
    def question(self) -> str:
        """The last user message: the text of a classifier."""
        return next((content for role, content in reversed(self.messages[:-1]) if role == "user"), self.asked)


Row = Labelled | Chat
__all__ = ["Chat", "Labelled", "Row", "fault", "parse", "read", "refuse_other_files", "text_lines"]


def read(pieces: Iterable[bytes], name: str) -> Iterator[tuple[int, Row | str]]:
    """(line, row or what is wrong). Raises ValidationFailed for bytes that are no UTF-8, or CSV that can't be read."""
    lines = text_lines(pieces)
    first = next(lines, None)
    while first is not None and not first[1].strip():
        first = next(lines, None)
    if first is None:
        return
    rest = _after(first, lines)
    if _is_table(first[1], name.lower()):
        yield from table_rows(rest)
    else:
        yield from _json_lines(rest)


def parse(row: Any) -> Row | str:
    """A decoded JSON object as a row, or what is wrong with it."""
    if not isinstance(row, dict):
        return "not a JSON object"
    if "messages" in row:
        return _chat(row["messages"])
    if "prompt" in row and "completion" in row:
        return _chat(
            [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
        )
    return _labelled(row)


def _after(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _is_table(line: str, name: str) -> bool:
    """What the first line is decides, and the file's name only where that says nothing."""
    if line.lstrip().startswith(("{", "[")):
        return False
    return name.endswith((".csv", ".tsv")) or {"text", "label"} <= set(header_of(line)[0])


def text_lines(pieces: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """(number, line without its end). Raises ValidationFailed for what is no UTF-8, or no line that anybody wrote."""
    for number, raw in enumerate(_byte_lines(pieces), start=1):
        if number == 1:
            if raw[:2] in UTF16:
                raise ValidationFailed(
                    "Line 1 is not UTF-8: the file looks like UTF-16. Save it as UTF-8.",
                    [fault(1, "not UTF-8")],
                )
            refuse_other_files(raw)
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, raw.decode()
        except UnicodeDecodeError as error:
            raise ValidationFailed(
                f"Line {number} is not UTF-8: byte {error.start + 1} is 0x{raw[error.start]:02x}. Save the file as UTF-8.",
                [fault(number, "not UTF-8", error.start + 1)],
            ) from None


def refuse_other_files(first: bytes) -> None:
    """Raises ValidationFailed for a file of another kind, which says more than its first byte that is no UTF-8."""
    for mark, what in NOT_TEXT.items():
        if first.startswith(mark):
            raise ValidationFailed(f"The file is {what}.", [fault(1, "not a file of text")])


def _byte_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest, number = b"", 0
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            number += 1
            _check_length(line, number)
            yield line.removesuffix(b"\r")
        _check_length(rest, number + 1)
    if rest:
        yield rest


def _check_length(line: bytes, number: int) -> None:
    if len(line) > MAX_LINE:
        raise ValidationFailed(
            f"Line {number} is longer than {MAX_LINE // 2**20} MiB; expected {EXPECTED}.",
            [fault(number, "line too long")],
        )


def _json_lines(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row | str]]:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            if number == 1:
                _refuse_whole_documents(line)
            yield number, "not a JSON object"
            continue
        if number == 1 and isinstance(row, list) and row and isinstance(row[0], dict):
            _refuse_whole_documents("[")
        yield number, parse(row)


def _refuse_whole_documents(line: str) -> None:
    """Raises ValidationFailed where the file is one JSON value over many lines: each of its lines would be a fault."""
    start = line.strip()
    if start.startswith("["):
        what, told = "one JSON list", "a list, not one object a line"
    elif start == "{":
        what, told = "one JSON object over several lines", "an object over several lines"
    else:
        return
    raise ValidationFailed(f"The file is {what}; expected {EXPECTED}.", [fault(1, told)])


def table_rows(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Row | str]]:
    """(last line of the row, row). Raises ValidationFailed for what has no such columns or is no CSV."""
    for number, row in read_table(lines):
        yield number, _labelled(row)


def _labelled(row: dict[str, Any]) -> Labelled | str:
    for name, longest in (("text", MAX_TEXT), ("label", MAX_LABEL)):
        value = row.get(name)
        if value is None:
            there = ", ".join(str(key)[:40] for key in list(row)[:6] if key not in (name, None)) or "nothing"
            return f"`{name}` is missing; the row has {there}"
        if not isinstance(value, str):
            return f"`{name}` is {json.dumps(value)[:40]}, which is no text: write it in quotes"
        if not value.strip():
            return f"`{name}` is empty"
        if len(value) > longest:
            return f"`{name}` is longer than {longest} characters"
        if not _can_be_kept(value):
            return f"`{name}` holds a character that can't be stored"
    return Labelled(row["text"].strip(), row["label"].strip())


def _chat(messages: Any) -> Chat | str:
    if not isinstance(messages, list) or not 2 <= len(messages) <= MAX_MESSAGES:
        return f"`messages` must be a list of 2 to {MAX_MESSAGES} messages"
    told: list[tuple[str, str]] = []
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            return f"`messages[{place}].role` must be one of {', '.join(ROLES)}"
        content = message.get("content")
        if not isinstance(content, str) or not content.strip():
            return f"`messages[{place}].content` is missing, empty or not text"
        if not _can_be_kept(content):
            return f"`messages[{place}].content` holds a character that can't be stored"
        told.append((message["role"], content.strip()))
    if told[-1][0] != "assistant":
        return "the last message must be the assistant's: it is what is learnt"
    if not any(role == "user" for role, _ in told):
        return "there is no message of the user"
    if sum(len(content) for _, content in told) > MAX_TEXT:
        return f"the messages are longer than {MAX_TEXT} characters together"
    return Chat(tuple(told))


def _can_be_kept(value: str) -> bool:
    """JSON escapes can spell half a surrogate pair, which no encoding takes; no column takes NUL."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value
