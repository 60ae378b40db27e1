"""What a vendor bills beside tokens of text: found by its field, reserved at its most, refused where no sheet can say it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from costs.contracts import PriceSheet
from routing.apart import NOTHING, PIECE_TOKENS, WINDOW_TOKENS, Apart, asked_apart

PLAIN = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
OWN = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"ttl": {}}}}}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def of(**more: Any) -> Apart:
    body = PLAIN | more
    return asked_apart(body, orjson.dumps(body))


def shown(*parts: Any, **more: Any) -> Apart:
    return of(messages=[{"role": "user", "content": list(parts), **more}])


def test_most_requests_ask_for_nothing_of_the_kind():
    assert of() is NOTHING and of(tools=[OWN] * 3) is NOTHING and of(service_tier="auto", n=3) is NOTHING
    assert (
        shown({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "5m"}}) is NOTHING
    )
    assert of(search_parameters={"mode": "off"}) is NOTHING and of(modalities=["text"]) is NOTHING


@pytest.mark.parametrize(
    ("body", "most", "field"),
    [
        ({"web_search_options": {}}, 1, "web_search_options"),
        ({"web_search_options": {"search_context_size": "high"}, "n": 3}, 3, "web_search_options"),
        ({"search_parameters": {"mode": "auto"}}, 20, "search_parameters"),
        ({"search_parameters": {"max_search_results": 4}}, 4, "search_parameters"),
        ({"plugins": [{"id": "web"}]}, 5, "plugins[0]"),
        ({"plugins": [{"id": "web", "max_results": 2}]}, 2, "plugins[0]"),
        ({"enable_search": True}, 1, "enable_search"),
        ({"tools": [OWN, {"type": "web_search_20250305", "max_uses": 3}]}, 3, "tools[1]"),
    ],
)
def test_searches_are_counted_at_their_most(body: dict[str, Any], most: int, field: str):
    found = of(**body)
    assert (found.searches, found.searched_by) == (most, field)
    assert found.missing(PriceSheet("p")) == (
        field, "nobody who may take it has a price for that; leave it out, or have usd_per_msearch entered",
    )  # fmt: skip
    assert found.missing(PriceSheet("p", search_nusd_per_munit=0)) is None
    assert found.tokens_in == min(most // body.get("n", 1) * PIECE_TOKENS, WINDOW_TOKENS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0]"),
        ({"tools": [{"google_search": {}}]}, "tools[0]"),
        ({"tools": [{"type": "web_search_20250305"}]}, "tools[0]"),
        ({"plugins": [{"id": "file-parser"}]}, "plugins[0]"),
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "us"}, "inference_geo"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "x", "cache_control": {"ttl": "1h"}}],
                    }
                ]
            },
            "messages.cache_control.ttl",
        ),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "cache_control.ttl"),
        (
            {"messages": [{"role": "user", "content": "x", "cache_control": {"ttl": "1h"}}]},
            "messages.cache_control.ttl",
        ),
        ({"tools": [OWN | {"cache_control": {"ttl": "1h"}}]}, "tools.cache_control.ttl"),
    ],
)
def test_what_no_sheet_can_hold_is_named(body: dict[str, Any], field: str):
    everything = PriceSheet(
        "p", search_nusd_per_munit=1, audio_input_nusd_per_munit=1, audio_output_nusd_per_munit=1
    )
    missing = of(**body).missing(everything)
    assert missing is not None and missing[0] == field


def test_sound_needs_its_own_price():
    heard = shown({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}})
    assert heard.missing(PriceSheet("p"))[0] == "messages[0].content[0]"
    assert heard.missing(PriceSheet("p", audio_input_nusd_per_munit=5)) is None
    spoken = of(modalities=["text", "audio"], audio={"voice": "a", "format": "wav"})
    assert spoken.missing(PriceSheet("p"))[0] == "modalities"
    assert spoken.missing(PriceSheet("p", audio_output_nusd_per_munit=5)) is None
    earlier = of(messages=[{"role": "assistant", "content": None, "audio": {"id": "audio_1"}}])
    assert earlier.heard and earlier.heard_by == "messages[0].audio"


def test_pictures_and_files_count_as_more_than_their_bytes():
    assert shown(PICTURE, PICTURE).tokens_in == 2 * PIECE_TOKENS
    assert shown({"type": "file", "file": {"file_id": "file_1"}}).tokens_in == WINDOW_TOKENS
    assert shown({"type": "video_url"}, PICTURE).tokens_in == WINDOW_TOKENS  # no more than can be read
    assert shown({"type": ["odd"]}, 5, None).tokens_in == WINDOW_TOKENS


def test_predicted_text_may_all_be_billed_as_output():
    assert of(prediction={"type": "content", "content": "äb"}).predicted == 3
    parts = [{"type": "text", "text": "ab"}, {"type": "text", "text": "cd"}, {"odd": 1}]
    assert of(prediction={"type": "content", "content": parts}, n=2).predicted == 8
    assert of(prediction="nonsense").predicted == 0
