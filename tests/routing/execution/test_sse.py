"""Frames however the network cut them, and however alike they are: read as if each came alone."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.execution.sse import AlikeFrame, Frame, FrameReader


def frame(text: str, *, index: int = 0, compact: bool = True, **more: object) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": None}
    data = orjson.dumps({"id": "c", "created": 1, "model": "m", "choices": [choice], **more})
    if not compact:
        data = data.replace(b'":', b'": ')
    return b"data: " + data + b"\n\n"


def alone(raw: bytes) -> Frame:
    """As a reader sees it that knows no other frame."""
    (found,) = FrameReader().feed(raw)
    return found


TEXTS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(['"', "\\", '","x":"', "\u2028", "a\nb", "é", "𝄞", "content", '"content":"', " word"]),
)
RAW = st.one_of(
    st.builds(frame, TEXTS),
    st.builds(frame, TEXTS, index=st.integers(0, 1)),
    st.builds(frame, TEXTS, compact=st.just(False)),
    st.builds(frame, TEXTS, usage=st.sampled_from([None, {"prompt_tokens": 3}])),
    st.builds(frame, TEXTS, note=TEXTS),
    st.sampled_from([b"data: [DONE]\n\n", b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n']),
    st.sampled_from([b'data: {"choices":[{"index":0,"delta":{"content":"a","role":"assistant"}}]}\n\n',
                     b'data: {"choices":[{"index":0,"delta":{"content":"a","refusal":"b"}}]}\n\n',
                     b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n']),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(RAW, max_size=14), st.lists(st.integers(1, 400), max_size=20))
def test_a_frame_is_read_as_if_it_came_alone(raws, cuts):
    whole = b"".join(raws)
    places = [0, *sorted({c for c in cuts if c < len(whole)}), len(whole)]
    reader = FrameReader()
    read = [one for a, b in zip(places, places[1:], strict=False) for one in reader.feed(whole[a:b])]
    assert b"".join(one.raw for one in read) == whole
    for one, raw in zip(read, raws, strict=True):
        wanted = alone(raw)
        assert (one.raw, one.texts, one.usage, one.done, one.finished, one.data, one.choices) == (
            wanted.raw, wanted.texts, wanted.usage, wanted.done, wanted.finished, wanted.data, wanted.choices,
        )  # fmt: skip


def test_pieces_that_differ_in_their_text_alone_are_not_decoded():
    reader = FrameReader()
    kinds = [type(one) for text in ("one", " two", ' "three"', " four") for one in reader.feed(frame(text))]
    assert kinds == [Frame, AlikeFrame, Frame, AlikeFrame]


def test_several_that_came_together_are_read_apart():
    reader = FrameReader()
    found = reader.feed(frame("one") + frame("two") + frame("three")[:-1])
    assert [one.texts for one in found] == [{(0, "content"): "one"}, {(0, "content"): "two"}]
    assert [one.texts for one in reader.feed(b"\n")] == [{(0, "content"): "three"}]


def test_a_text_that_is_no_utf8_makes_no_sense_alike_or_not():
    for first in (b"", frame("one")):
        reader = FrameReader()
        reader.feed(first)
        with pytest.raises(ValueError):
            reader.feed(frame("xxxx").replace(b"xxxx", b"\xff\xfe"))


def test_streams_whose_frames_all_differ_are_read_nevertheless():
    reader = FrameReader()
    found = [one for i in range(20) for one in reader.feed(frame(f"w{i}", obfuscation="z" * i))]
    assert [one.texts[(0, "content")] for one in found] == [f"w{i}" for i in range(20)]


@pytest.mark.parametrize("form", ["model first", "model last", "spaced", "twice", "unlike"])
def test_every_frame_bears_the_name_that_was_asked_for_and_its_text_as_it_came(form):
    def frame(text):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        more = {"n": text} if form == "unlike" else {"inner": {"model": "theirs"}} if form == "twice" else {}
        data = (
            {"choices": [choice], "model": "theirs"}
            if form == "model last"
            else {"model": "theirs", "choices": [choice]}
        )
        text = json.dumps(data | more) if form == "spaced" else orjson.dumps(data | more).decode()
        return f"data: {text}\n\n".encode()

    words = ["All ", "is ", 'a "model":"theirs" ', "said he, ", "für immer ", "well", "."]
    reader = FrameReader("ours")
    found = [one for word in words for one in reader.feed(frame(word))]
    told = [orjson.loads(one.raw[6:]) for one in found]
    assert [t["model"] for t in told] == ["ours"] * len(words) == [one.data["model"] for one in found]
    assert [t["choices"][0]["delta"]["content"] for t in told] == words
    assert ["".join(one.texts.values()) for one in found] == words
    if form not in ("twice", "unlike"):
        assert sum(type(one).__name__ == "AlikeFrame" for one in found) >= 3, "most are compared, not decoded"
