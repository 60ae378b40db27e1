"""The way back of a stream: however it is cut, the client reads values, and nothing waits longer than it must."""

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from costs.contracts import Usage
from routing.execution.base import Completion
from routing.execution.sse import Frame, FrameReader
from routing.masking.unmask import StreamUnmasker, unmask_completion
from routing.masking.vault import Vault


def vault():
    made = Vault()
    made.mark_for("email", "ann@example.com")
    made.mark_for("person_name", 'Ann "The" Lee')
    return made


def frame(choices: list[dict[str, Any]]) -> Frame:
    data = {"id": "x", "model": "m", "choices": choices}
    return Frame(b"data: " + orjson.dumps(data) + b"\n\n", data)


def piece(text: str, index: int = 0, finish: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, "finish_reason": finish}


def read(frames: list[Frame]) -> dict[Any, str]:
    """By channel, from the bytes that a client gets."""
    reader, found = FrameReader(), {}
    for one in frames:
        for told in reader.feed(one.raw):
            for channel, text in told.texts.items():
                found[channel] = found.get(channel, "") + text
    return found


def through(choices_of_frames: list[list[dict[str, Any]]], *, json_answer: bool = False) -> list[Frame]:
    unmasker = StreamUnmasker(vault(), json_answer=json_answer)
    out = [unmasker.feed(frame(choices)) for choices in choices_of_frames]
    return [*out, *unmasker.finish()]


TEXT = "Dear [PERSON_NAME_1], write to [EMAIL_1] [EMAIL_2] or [see above]. [["
PLAIN = 'Dear Ann "The" Lee, write to ann@example.com [EMAIL_2] or [see above]. [['


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, len(TEXT) - 1), max_size=20), st.booleans())
def test_however_a_stream_is_cut_the_client_reads_the_values(cuts, finished):
    places = [0, *sorted(set(cuts)), len(TEXT)]
    parts = [TEXT[a:b] for a, b in zip(places, places[1:], strict=False)]
    frames = [[piece(part)] for part in parts]
    if finished:
        frames.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    assert read(through(frames)) == {(0, "content"): PLAIN}


def test_only_what_may_become_a_placeholder_is_held_back():
    unmasker = StreamUnmasker(vault(), json_answer=False)
    told = [
        read([unmasker.feed(frame([piece(part)]))]).get((0, "content"), "")
        for part in ("Hello [", "EMA", "IL_1] and [x", "y")
    ]
    assert told == ["Hello ", "", "ann@example.com and [x", "y"]


def test_choices_have_texts_of_their_own():
    frames = [[piece("[EMA", 0), piece("[PERSON_", 1)], [piece("IL_1]", 0), piece("NAME_1]", 1)]]
    assert read(through(frames)) == {(0, "content"): "ann@example.com", (1, "content"): 'Ann "The" Lee'}


def test_arguments_of_tools_stay_json():
    def call(text, index=0):
        return {
            "index": 0,
            "delta": {"tool_calls": [{"index": index, "function": {"arguments": text}}]},
            "finish_reason": None,
        }

    told = read(through([[call('{"who": "[PERSON_')], [call('NAME_1]", "to": "[EMAIL')], [call('_1]"}')]]))
    assert orjson.loads(told[(0, "call 0")]) == {"who": 'Ann "The" Lee', "to": "ann@example.com"}


def test_a_json_answer_stays_json():
    told = read(through([[piece('{"name": "[PERSON_NA')], [piece('ME_1]"}')]], json_answer=True))
    assert orjson.loads(told[(0, "content")]) == {"name": 'Ann "The" Lee'}


def test_log_probabilities_are_dropped():
    choice = piece("[EMAIL_1]") | {"logprobs": {"content": [{"token": "[EMAIL"}]}}
    (told, *_) = through([[choice]])
    assert told.data["choices"][0]["logprobs"] is None


def test_a_whole_answer_is_given_back_in_every_choice_and_to_the_guard():
    message = {"role": "assistant", "content": "[EMAIL_1]", "tool_calls": [
        {"id": "c", "function": {"name": "mail", "arguments": '{"to": "[PERSON_NAME_1]"}'}}]}  # fmt: skip
    payload = {
        "choices": [
            {"index": 0, "message": message, "logprobs": {"content": []}},
            {"index": 1, "message": {"content": "x [EMAIL_1]"}},
        ]
    }
    completion = Completion(payload, Usage(), texts=["[EMAIL_1]", "x [EMAIL_1]"], answers=["[EMAIL_1]", 3])
    told = unmask_completion(completion, vault(), json_answer=False)
    first, second = told.payload["choices"]
    assert (
        first["message"]["content"] == "ann@example.com"
        and second["message"]["content"] == "x ann@example.com"
    )
    assert orjson.loads(first["message"]["tool_calls"][0]["function"]["arguments"]) == {"to": 'Ann "The" Lee'}
    assert first["logprobs"] is None
    assert told.texts == ["ann@example.com", "x ann@example.com"] and told.answers == ["ann@example.com", 3]
