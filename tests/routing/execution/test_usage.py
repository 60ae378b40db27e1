"""Token counts as vendors report them, each in its own words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.contracts import Usage
from routing.execution.usage import guessed, read_usage

OPENAI = {
    "prompt_tokens": 2006, "completion_tokens": 300, "total_tokens": 2306,
    "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 192, "accepted_prediction_tokens": 0},
}  # fmt: skip
RESPONSES = {
    "input_tokens": 75, "input_tokens_details": {"cached_tokens": 32}, "output_tokens": 1186,
    "output_tokens_details": {"reasoning_tokens": 1024}, "total_tokens": 1261,
}  # fmt: skip
DEEPSEEK = {
    "prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050, "prompt_cache_hit_tokens": 896,
    "prompt_cache_miss_tokens": 104,
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 21, "cache_creation_input_tokens": 188086, "cache_read_input_tokens": 2000, "output_tokens": 393,
}  # fmt: skip
# LiteLLM and OpenRouter hand Anthropic's names through beside OpenAI's whole.
PROXIED = {
    "prompt_tokens": 190107, "completion_tokens": 393, "cache_creation_input_tokens": 188086, "cache_read_input_tokens": 2000,
}  # fmt: skip
XAI = {
    "prompt_tokens": 32, "completion_tokens": 9, "total_tokens": 135, "prompt_tokens_details": {"cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 94},
}  # fmt: skip


@pytest.mark.parametrize(
    ("told", "tokens_in", "cached", "written", "tokens_out", "reasoning"),
    [
        (OPENAI, 2006, 1920, 0, 300, 192), (RESPONSES, 75, 32, 0, 1186, 1024), (DEEPSEEK, 1000, 896, 0, 50, 0),
        (ANTHROPIC, 190107, 2000, 188086, 393, 0), (PROXIED, 190107, 2000, 188086, 393, 0), (XAI, 32, 6, 0, 103, 94),
    ],
)  # fmt: skip
def test_every_vendors_words_come_to_the_same_classes(
    told, tokens_in, cached, written, tokens_out, reasoning
):
    assert read_usage(told) == Usage(tokens_in, tokens_out, cached, written, reasoning)


@pytest.mark.parametrize(
    "told",
    [
        None, [], "many", {}, {"total_tokens": 5}, {"prompt_tokens": -1}, {"prompt_tokens": "12"}, {"prompt_tokens": 1.5},
        {"prompt_tokens": True}, {"completion_tokens": 10**12}, {"prompt_tokens": [1]}, {"prompt_tokens": 1e300},
    ],
)  # fmt: skip
def test_absent_and_absurd_counts_are_estimated_and_never_free(told):
    read = read_usage(told)
    assert (read.source, read.tokens_in, read.tokens_out) == ("estimated", 0, 0)
    assert guessed(read, bytes_in=400, bytes_out=80) == Usage(100, 20, source="estimated")


def test_a_report_is_not_guessed_over():
    told = read_usage({"prompt_tokens": 0, "completion_tokens": 0})
    assert guessed(told, bytes_in=400, bytes_out=80) == told


def test_parts_that_exceed_their_whole_count_as_the_whole():
    read = read_usage(
        {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}
    )
    assert (read.tokens_in, read.cached_tokens_in) == (9, 9)


values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.dictionaries(
    st.sampled_from(["cached_tokens", "reasoning_tokens"]), st.integers(), max_size=2))  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from([*OPENAI, *ANTHROPIC, "prompt_cache_hit_tokens", "accelerator_ns"]), values
    )
)
def test_whatever_an_upstream_says_is_read_without_an_error_and_never_negative(told):
    read = read_usage(told)
    assert 0 <= read.cached_tokens_in + read.cache_write_tokens <= read.tokens_in
    assert 0 <= read.reasoning_tokens <= read.tokens_out


@pytest.mark.parametrize(
    ("told", "searches"),
    [
        ({"server_tool_use": {"web_search_requests": 3}}, 3), ({"server_tool_use": {"web_search_requests": 0}}, 0),
        ({"num_sources_used": 12}, 12), ({"server_side_tool_usage_details": {"web_search_calls": 2}}, 2),
        ({"num_search_queries": 1, "citation_tokens": 40}, 1), ({}, None),
    ],
)  # fmt: skip
def test_searches_that_a_vendor_ran_are_told_in_its_own_words(told, searches):
    assert read_usage(ANTHROPIC | told).searches == searches


def test_sound_and_predictions_are_parts_of_what_is_told():
    usage = read_usage({
        "prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130,
        "prompt_tokens_details": {"audio_tokens": 80, "text_tokens": 20},
        "completion_tokens_details": {"audio_tokens": 25, "rejected_prediction_tokens": 4, "accepted_prediction_tokens": 3},
    })  # fmt: skip
    assert (usage.tokens_in, usage.audio_tokens_in, usage.tokens_out, usage.audio_tokens_out) == (
        100,
        80,
        30,
        25,
    )
    outside = read_usage({
        "prompt_tokens": 100, "completion_tokens": 5,
        "completion_tokens_details": {"rejected_prediction_tokens": 40, "accepted_prediction_tokens": 5},
    })  # fmt: skip
    assert (
        outside.tokens_out == 45
    )  # a vendor that leaves rejected ones out of the whole bills them all the same
