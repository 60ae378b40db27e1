"""What of a request its vendor bills beside tokens of text: searches it runs itself, sound, pictures, files, predicted text.

Pure. Everything here is about fields that most requests don't have, so for most of them a few look-ups are all it costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from costs.contracts import PriceSheet
from switchyard.core.quick import quick

# What one picture, or the results of one search, count at most as input: the dearest picture of a public price list comes
# to 48,169 tokens (gpt-4o-mini, eight tiles). What is longer than a context window nobody can read.
PIECE_TOKENS, WINDOW_TOKENS = 50_000, 1_000_000
FIELDS = frozenset({
    "web_search_options", "search_parameters", "plugins", "enable_search", "tools", "modalities", "audio", "prediction",
    "service_tier", "speed", "inference_geo", "cache_control",
})  # fmt: skip
OWN_TOOLS = frozenset({"function", "custom"})  # that the caller runs itself
LIVE_SOURCES, WEB_RESULTS = 20, 5  # searches of xAI and results of OpenRouter where a request names no number
_HEARD = frozenset({"input_audio", "audio_url", "audio"})
_SHOWN = frozenset({"image_url", "input_image", "image"})
_WORDS = frozenset({"text", "refusal", "thinking", "reasoning", "input_text", "output_text"})


@quick
@dataclass(frozen=True, slots=True)
class Apart:
    """`searches`: at most so many; `tokens_in`: what counts as input beside the body's bytes; `predicted`: bytes of text that
    are billed as output where the answer turns out otherwise; `unpriced`: (field, why no price sheet can hold it)."""

    searches: int = 0
    heard: bool = False
    spoken: bool = False
    tokens_in: int = 0
    predicted: int = 0
    flex: bool = False
    unpriced: tuple[tuple[str, str], ...] = ()
    searched_by: str = ""  # the field that asks for searches
    heard_by: str = ""

    def missing(self, sheet: PriceSheet | None) -> tuple[str, str] | None:
        """(field, what is missing) where an external deployment of this sheet can't be asked; None where it can."""
        if self.unpriced:
            return self.unpriced[0]
        if sheet is None:
            return None
        for asked, field, price, name in (
            (self.searches, self.searched_by, sheet.search_nusd_per_munit, "usd_per_msearch"),
            (self.heard, self.heard_by, sheet.audio_input_nusd_per_munit, "audio_input_usd_per_mtok"),
            (self.spoken, "modalities", sheet.audio_output_nusd_per_munit, "audio_output_usd_per_mtok"),
        ):
            if asked and price is None:
                return (
                    field,
                    f"nobody who may take it has a price for that; leave it out, or have {name} entered",
                )
        return None


NOTHING = Apart()


def asked_apart(body: Mapping[str, Any], raw: bytes) -> Apart:
    """Of a checked body of chat or text completions and its bytes. Never raises."""
    if FIELDS.isdisjoint(body) and _plain(body.get("messages")):
        return NOTHING
    parts = list(_parts(body))
    choices = body["n"] if isinstance(body.get("n"), int) else 1
    unpriced = [*_refused(body)]
    if b'"ttl"' in raw and (field := _long_cache(body)):
        unpriced.append(
            (field, "a cache of more than five minutes has a price that no sheet here holds; leave it out")
        )
    searches, searched_by = _searches(body, unpriced)
    heard_by, tokens = "", PIECE_TOKENS * searches
    for where, kind in parts:
        if kind in _HEARD:
            heard_by = heard_by or where
        elif kind in _SHOWN:
            tokens += PIECE_TOKENS
        elif kind not in _WORDS:
            tokens += WINDOW_TOKENS
    modalities = body.get("modalities")
    found = Apart(
        searches=searches * choices,
        heard=bool(heard_by),
        spoken=bool(body.get("audio")) or (isinstance(modalities, list) and "audio" in modalities),
        tokens_in=min(tokens, WINDOW_TOKENS),
        predicted=_predicted(body.get("prediction")) * choices,
        flex=body.get("service_tier") == "flex",
        unpriced=tuple(unpriced),
        searched_by=searched_by,
        heard_by=heard_by,
    )
    return NOTHING if found == NOTHING else found


def _plain(messages: Any) -> bool:
    """Whether all of them are text alone, as most are."""
    for message in messages or ():
        if type(message) is not dict or type(message.get("content")) is not str:
            return False
        if len(message) > 2 and ("audio" in message or "cache_control" in message):
            return False
    return True


def _parts(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(where, type) of each part of a message; an earlier answer that was spoken is sound too."""
    for i, message in enumerate(body.get("messages") or ()):
        if type(message) is not dict:
            continue
        content = message.get("content")
        if type(content) is list:
            for j, part in enumerate(content):
                kind = part.get("type") if isinstance(part, dict) else "text"
                yield f"messages[{i}].content[{j}]", kind if isinstance(kind, str) else ""
        if message.get("audio"):
            yield f"messages[{i}].audio", "audio"


def _refused(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields by which a vendor asks another price for everything."""
    if body.get("speed") not in (None, "standard"):
        yield (
            "speed",
            "another speed than the standard one has a price that no sheet here holds; leave it out",
        )
    if body.get("inference_geo") not in (None, "global"):
        yield "inference_geo", "a place of inference has a price that no sheet here holds; leave it out"


def _searches(body: Mapping[str, Any], unpriced: list[tuple[str, str]]) -> tuple[int, str]:
    """(how many searches one answer may pay for, the field that asks for them)."""
    count, field = 0, ""
    if body.get("web_search_options") is not None:
        count, field = 1, "web_search_options"
    if body.get("enable_search"):
        count, field = count + 1, "enable_search"
    live = body.get("search_parameters")
    if live is not None and not (isinstance(live, dict) and live.get("mode") == "off"):
        count += _bound(live, "max_search_results") or LIVE_SOURCES
        field = "search_parameters"
    for i, plugin in enumerate(_listed(body.get("plugins"))):
        if not isinstance(plugin, dict) or plugin.get("id") != "web":
            unpriced.append(
                (f"plugins[{i}]", "what a vendor's plugin costs stands on no sheet here; leave it out")
            )
            continue
        count, field = count + (_bound(plugin, "max_results") or WEB_RESULTS), f"plugins[{i}]"
    for i, tool in enumerate(_listed(body.get("tools"))):
        kind = str(tool.get("type")) if isinstance(tool, dict) else "function"
        if kind in OWN_TOOLS or "function" in tool:
            continue
        most, named = _bound(tool, "max_uses"), f"tools[{i}]"
        if "search" not in kind:
            unpriced.append(
                (named, "of tools that a vendor runs only searches can be priced here; leave it out")
            )
        elif not most:
            unpriced.append((named, "a search tool needs `max_uses`, so that what it costs can be reserved"))
        else:
            count, field = count + most, named
    return count, field


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _bound(told: Any, name: str) -> int:
    value = told.get(name) if isinstance(told, dict) else None
    return value if type(value) is int and value > 0 else 0


def _predicted(prediction: Any) -> int:
    """Bytes of the text that an answer is expected to be."""
    content = prediction.get("content") if isinstance(prediction, dict) else None
    texts = [part.get("text") if isinstance(part, dict) else None for part in _listed(content)] or [content]
    return sum(len(text.encode("utf-8", "replace")) for text in texts if isinstance(text, str))


def _long_cache(body: Mapping[str, Any]) -> str:
    """The field under which `cache_control` asks for more than the five minutes that a sheet's price is for."""
    stack: list[tuple[str, Any]] = list(body.items())
    while stack:
        field, value = stack.pop()
        if isinstance(value, dict):
            control = value.get("cache_control")
            if isinstance(control, dict) and control.get("ttl") not in (None, "5m"):
                return f"{field}.cache_control.ttl"
            if field == "cache_control" and value.get("ttl") not in (None, "5m"):
                return "cache_control.ttl"
            stack += [(field, inside) for inside in value.values()]
        elif isinstance(value, list):
            stack += [(field, inside) for inside in value]
    return ""
