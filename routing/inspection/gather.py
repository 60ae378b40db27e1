"""What of a request can be read: all of its strings, which of them are only documents, and whether something can't be read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from routing.inspection.disguises import decoded_text, spoken

LONG_NUMBER = 10**6  # a number as long as this may be a phone's, a card's or an ID's
READ_ROLES = frozenset(
    {"tool", "function"}
)  # their messages are documents: nobody who may command wrote them
READ_BLOCKS = frozenset(
    {"tool_result", "document", "search_result", "file", "input_file", "function_call_output"}
)
_MESSAGE = {"role", "content"}
# What machines call a call, a message or a block. Nobody commands by it, and beside a short result it drowns the result.
_LABELS = frozenset({"role", "type", "id", "call_id", "tool_call_id", "tool_use_id"})
_MEDIA = frozenset({"input_audio", "b64_json", "file_data", "image_data"})
_VALUES = (str, int)  # of a field that is read together with its name
# What a server fetches for itself: nobody here sees it.
_FETCHED = frozenset({"image_url", "video_url", "audio_url", "file_url", "file_id"})


@dataclass(slots=True)
class Gathered:
    texts: list[str] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)  # those of `texts` that are only to be read
    asides: list[str] = field(
        default_factory=list
    )  # values with their names, parts of one content without what parts them
    media: bool = False  # pictures, sound, files: no text that could be looked at


def gather(body: Mapping[str, Any]) -> Gathered:
    """Everything a caller can put into a request and an upstream would see: all of the body but the model's name.

    Names of columns and long numbers too; without recursion; in the order of the conversation, names at the end. A value whose
    name tells what it is ("mrn", "password") is read together with it, and so are texts that a server puts together.
    """
    found = Gathered()
    names: dict[str, None] = {}
    stack: list[tuple[Any, bool]] = [(value, False) for name, value in body.items() if name != "model"]
    stack.reverse()
    while stack:
        item, document = stack.pop()
        if isinstance(item, str):
            _take(item, document, found)
        elif item is None or (type(item) is int and -LONG_NUMBER < item < LONG_NUMBER) or type(item) is bool:
            continue
        elif type(item) is dict or isinstance(item, Mapping):
            if item.keys() == _MESSAGE and type(item["content"]) is str and type(item["role"]) is str:
                inside = document or item["role"] in READ_ROLES  # as nearly every message is
                for name, value in item.items():
                    names[name] = None
                    if inside or value.startswith("data:"):
                        _take(value, inside and not (name in _LABELS and _is_label(value)), found)
                    else:
                        found.texts.append(value)
                continue
            inside = document or _is_read(item.get("role"), item.get("type"))
            for name, value in item.items():
                names[name] = None
                if type(name) is str and type(value) in _VALUES and (told := spoken(name)):
                    found.asides.append(f"{told}: {value}")
            for name, value in list(item.items())[::-1]:
                if name in _MEDIA and not (isinstance(value, str) and value.startswith("data:")):
                    found.media = True  # what it holds is no text
                    continue
                if name in _FETCHED:
                    place = value.get("url") if isinstance(value, Mapping) else value
                    found.media |= isinstance(place, str) and not place.startswith("data:")
                stack.append((value, inside and not (name in _LABELS and _is_label(value))))
        elif isinstance(item, list | tuple):
            stack.extend([(value, document) for value in reversed(item)])
            if len(item) > 1:
                _take_whole(item, found)
        elif isinstance(item, int) and abs(item) >= LONG_NUMBER:
            found.texts.append(str(item))
        elif isinstance(item, float) and abs(item) >= LONG_NUMBER:
            found.texts.append(repr(item).removesuffix(".0"))
    found.texts += [name for name in names if isinstance(name, str)]
    return found


def _is_read(role: Any, kind: Any) -> bool:
    """Whether what has this role or is of this type is only to be read. In a schema `type` may be a list, or a property's own
    schema."""
    return (type(role) is str and role in READ_ROLES) or (type(kind) is str and kind in READ_BLOCKS)


def _is_label(value: Any) -> bool:
    """One word as machines write them, so that no sentence hides where only a label should stand."""
    return (
        isinstance(value, str) and value.isascii() and len(value) <= 64 and not any(map(str.isspace, value))
    )


def texts_of(body: Mapping[str, Any]) -> Iterator[str]:
    """Its strings alone."""
    return iter(gather(body).texts)


def _take_whole(parts: list[Any] | tuple[Any, ...], found: Gathered) -> None:
    """The texts of one content in one piece, as a model reads them: what is cut into two parts stands in neither."""
    texts = [text for part in parts if isinstance(part, Mapping) and type(text := part.get("text")) is str]
    if len(texts) > 1 and all(isinstance(part, Mapping) and "role" not in part for part in parts):
        found.asides.append("".join(texts))


def _take(text: str, document: bool, found: Gathered) -> None:
    if text.startswith("data:") and ";base64," in text[:200]:
        head, _, payload = text.partition(";base64,")
        if not head.startswith("data:text/") and not head.startswith("data:application/json"):
            found.media = True
            return
        try:
            told = decoded_text(base64.b64decode(payload, validate=False))
        except (binascii.Error, ValueError):
            told = None
        if told is None:
            found.media = True
            return
        text, document = told, True
    found.texts.append(text)
    if document:
        found.documents.append(text)
