"""A request's body with placeholders for what identifies somebody or opens a door, and proof that nothing of it is left.

What was found is replaced, then everywhere else that it stands; then the masked body is inspected again as if it had come from
a caller. Whatever is still found, and whatever has no place to replace (a picture, a number that is no text, a health record's
subject), means that the request can't be masked: None, and it stays at home.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from routing.inspection import scan
from routing.inspection.collect import NOTHING, look_into
from routing.inspection.dictionaries import Dictionaries
from routing.inspection.disguises import plain
from routing.inspection.gather import gather
from routing.inspection.learned import classifier
from routing.masking.vault import Vault

log = logging.getLogger(__name__)
ROUNDS = 3  # what is left after one replacement is replaced again: a name beside a placeholder reads otherwise than before
MOST_WORK = 50_000_000  # values × characters: a search for each value through the whole text, some 50 ms
LEAST_PART = 3  # letters of a part of a name that is masked by itself
ONLY_HERE = frozenset({"model"})  # not the caller's text: the server's own name stands there


@dataclass(frozen=True, slots=True)
class Masked:
    """The body that may leave, and the way back."""

    body: dict[str, Any]
    vault: Vault


def mask_body(body: Mapping[str, Any], dictionaries: Dictionaries = NOTHING) -> Masked | None:
    """None when something can't be masked. Never raises: what goes wrong means that it can't."""
    try:
        return _masked(body, dictionaries)
    except Exception:
        log.exception("masking failed: the request stays at home")
        return None


def _masked(body: Mapping[str, Any], dictionaries: Dictionaries) -> Masked | None:
    read = gather(body)
    if read.media:
        return None
    vault = Vault.beside(read.texts)
    size = sum(map(len, read.texts))
    found = look_into(read.texts, documents=read.documents, asides=read.asides, dictionaries=dictionaries)
    if any(_disguised(text, dictionaries) for text in _strings(body)):
        return None
    changed: dict[str, Any] = dict(body)
    for _ in range(ROUNDS):
        kinds = _collect(changed, dictionaries, vault)
        if changed == body and not found.counts.keys() <= kinds:
            return None  # a marker, an attempt, or something that no single text holds
        if len(vault.by_value) * size > MOST_WORK:
            return None
        changed = _rewritten(changed, _replacer(vault))
        again = gather(changed)
        left = look_into(
            again.texts, documents=again.documents, asides=again.asides, media=again.media,
            dictionaries=dictionaries,
        )  # fmt: skip
        if not left.counts:
            return Masked(changed, vault)
    return None


def _collect(body: Mapping[str, Any], dictionaries: Dictionaries, vault: Vault) -> set[str]:
    """Give every value that has a place a placeholder, whole names before their parts; the kinds of all that was found."""
    parts: list[tuple[str, str]] = []
    kinds: set[str] = set()
    for text in _strings(body):
        spans = _spans(text, dictionaries)
        kinds.update(kind for kind, _, _ in spans)
        for kind, start, end in _merged(spans):
            value = text[start:end]
            vault.mark_for(kind, value)
            if kind == "person_name":
                parts += [(kind, part) for part in _name_parts(value)]
    for kind, part in parts:
        vault.mark_for(kind, part)
    return kinds


def _name_parts(value: str) -> list[str]:
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", value)
    return [word for word in words if len(word) >= LEAST_PART] if len(words) > 1 else []


def _spans(text: str, dictionaries: Dictionaries) -> list[tuple[str, int, int]]:
    """What has a place in this string."""
    found = [span for span in scan.find(text, dictionaries or None) if span[2] > span[1]]
    found += [("person_name", start, end) for start, end in classifier().names_in(text)]
    return found


def _disguised(text: str, dictionaries: Dictionaries) -> bool:
    """Whether something is found in it only once its disguise is taken off: its characters can't be told one by one."""
    shown = plain(text)
    if shown == text:
        return False
    values = {text[a:b] for _, a, b in _spans(text, dictionaries)}
    return any(shown[a:b] not in values for _, a, b in _spans(shown, dictionaries))


def _merged(spans: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """Overlapping finds as one, under the name of the longest."""
    merged: list[tuple[str, int, int]] = []
    for kind, start, end in sorted(spans, key=lambda span: (span[1], -span[2])):
        if merged and start < merged[-1][2]:
            first, a, b = merged[-1]
            merged[-1] = (first if b - a >= end - start else kind, a, max(b, end))
        else:
            merged.append((kind, start, end))
    return merged


def _replacer(vault: Vault) -> Callable[[str], str]:
    """Every value's every place, longest values first; a word only where it is a whole word."""
    values = sorted(vault.by_value, key=len, reverse=True)
    if not values:
        return lambda text: text
    pattern = re.compile("|".join(map(_as_pattern, values)))

    def replaced(text: str) -> str:
        if not any(value in text for value in values):
            return text
        return pattern.sub(lambda match: vault.by_value[match.group()], text)

    return replaced


def _as_pattern(value: str) -> str:
    before = r"(?<!\w)" if value[:1].isalpha() and value[:1].isascii() else ""
    after = r"(?!\w)" if value[-1:].isalpha() and value[-1:].isascii() else ""
    return f"{before}{re.escape(value)}{after}"


def _strings(value: Any) -> Iterator[str]:
    stack: list[Any] = [item for name, item in value.items() if name not in ONLY_HERE]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)


def _rewritten(body: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The body with every string changed; names of fields and numbers stay, so what is found in them is still found."""
    return {name: value if name in ONLY_HERE else _deep(value, change, 0) for name, value in body.items()}


def _deep(value: Any, change: Callable[[str], str], depth: int) -> Any:
    if depth > 100:
        raise RecursionError("a body deeper than 100 levels")  # /v1 takes 64
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _deep(item, change, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_deep(item, change, depth + 1) for item in value]
    return value
