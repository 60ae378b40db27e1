"""Every way out is guarded: streams cut anywhere, choices, tools, buffered and observed; and what a policy may ask."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import orjson
import pytest

from routing.contracts import DeploymentInfo, GatewayRequest, KeyInfo
from routing.execution.adapters import CHAT, CLASSIFY
from routing.execution.base import AttemptFailed
from routing.guards.base import RiskGuard
from routing.guards.selftest import CLEAN, PLANTED, STREAMED, WHOLE, frames_of, self_test, through
from routing.guards.swaps import by_kind, with_swaps
from tests.routing.guards.test_stream import make_guard


class Finder:
    """1 for a text that holds a word of the planted output; names its kind."""

    def score(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([1.0 if "vermin" in text or "exterminated" in text else 0.0 for text in texts])

    def kind_of(self, text: str) -> str:
        return "stereotype"


class Blind:
    def score(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros(len(texts))


def chunks_of(text: str, start: int, end: int, parts: int, seed: int) -> list[str]:
    """The text before `start`, the planted span in so many chunks, the rest."""
    cuts = sorted(random.Random(seed).sample(range(start + 1, end), parts - 1))
    edges = [0, start, *cuts, end, len(text)]
    return [text[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]


def as_frames(chunks: Sequence[str], route: str) -> list[bytes]:
    head = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
    made = [{"index": 0} | STREAMED[route](chunk) for chunk in chunks]
    return [head, *(b"data: " + orjson.dumps({"choices": [choice]}) + b"\n\n" for choice in made)]


def said(out: bytes) -> str:
    """Everything readable in what left."""
    parts: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                if name not in ("role", "token", "index"):
                    walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)
        elif isinstance(value, str):
            parts.append(value)

    for block in out.split(b"\n\n"):
        if block:
            walk(orjson.loads(block[6:]))
    return "".join(parts)


@pytest.mark.parametrize("route", list(STREAMED))
def test_a_planted_phrase_at_every_offset_and_split_delivers_no_character_of_it(route: str) -> None:
    body = CLEAN * 3
    for offset in range(0, len(body), 11):
        text = body[:offset] + " " + PLANTED + " " + body[offset:]
        start, end = offset + 1, offset + 1 + len(PLANTED)
        for parts in range(2, 7):
            guard = make_guard(scorer=Finder())
            out, blocked = through(guard, iter(as_frames(chunks_of(text, start, end, parts, offset), route)))
            assert blocked and guard.report.kind == "stereotype"
            assert len(said(out)) <= offset + 1


@pytest.mark.parametrize("route", list(STREAMED))
@pytest.mark.parametrize("whole_only", [False, True])
def test_clean_text_leaves_byte_for_byte_on_every_route(route: str, whole_only: bool) -> None:
    for size in (1, 4, 50):
        guard = make_guard(scorer=Finder())
        guard.whole_only = whole_only
        frames = list(frames_of(CLEAN * 4, size, STREAMED[route]))
        assert through(guard, iter(frames)) == (b"".join(frames), False)


def test_two_tool_calls_that_take_turns_are_read_apart() -> None:
    pieces = ["They are all ver", "min and worse. "]
    frames = []
    for i, piece in enumerate(pieces):
        for call, part in ((0, piece), (1, "fine " * 3)):
            delta = {"tool_calls": [{"index": call, "function": {"arguments": part}}]}
            frames.append(b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n")
        del i
    out, blocked = through(make_guard(scorer=Finder()), iter(frames))
    assert blocked and b"ver" not in out


def test_buffering_releases_nothing_before_the_end() -> None:
    guard = make_guard(scorer=Finder())
    guard.obey(["buffer_all"])
    from routing.guards.stream import StreamGuard

    stream = StreamGuard(guard)
    assert stream.feed(b"a", {0: CLEAN * 5}) == []
    assert stream.feed(b"b", {0: CLEAN}) == []
    assert stream.finish() == [b"a", b"b"]


def test_a_policy_makes_a_guard_stricter_and_never_laxer() -> None:
    observing = make_guard("observe", Finder())
    observing.obey(["bias"])
    assert observing.allows(PLANTED) and observing.report.mode == "observe"
    observing.obey(["hold_back"])
    assert not observing.allows(PLANTED)
    off = make_guard("off", Finder())
    off.obey(["bias"])
    assert off.allows(PLANTED) and off.report.kind == "stereotype"
    enforcing = make_guard("enforce", Finder())
    enforcing.obey(["bias"])
    assert enforcing.enforcing


def test_an_absent_guard_withholds_where_the_policy_says_so_and_a_stream_waits_for_it() -> None:
    for asked, passes in (((), True), (("block_when_unavailable",), False)):
        guard = RiskGuard(None, mode="observe", threshold=0.5, keep_text=False, timeout_ms=50)
        guard.obey(asked)
        assert guard.allows(CLEAN) is passes
        assert guard.report.verdict == "guard_unavailable"
        guard = RiskGuard(None, mode="observe", threshold=0.5, keep_text=False, timeout_ms=50)
        guard.obey(asked)
        out, blocked = through(guard, frames_of(CLEAN, 5, STREAMED["chat"]))
        assert (blocked, out == b"") == (not passes, not passes)


def test_the_self_test_holds_with_a_scorer_that_sees_and_names_every_route_with_one_that_does_not() -> None:
    found = self_test(Finder(), 0.5)
    assert set(found.values()) == {""}
    assert len(found) == 2 + len(WHOLE) + 2 * len(STREAMED)
    blind = self_test(Blind(), 0.5)
    assert {route for route, why in blind.items() if why} == set(blind) - {
        "clean text",
        "model's own operator",
    }
    assert "withheld" in self_test(None, 0.5)["clean text"]


KEY = KeyInfo("k", "d", "acme", 1, "service", "app", 0)
REQUEST = GatewayRequest(
    "req_1", "dec_1", KEY, "classifications", "classification", {"input": ["a", "b"]}, b"", 0
)
TARGET = DeploymentInfo(
    "ext",
    1,
    "external",
    "http://x/v1",
    "k",
    "m",
    frozenset({"classification"}),
    frozenset(),
    "",
    10,
    1,
    False,
)


def label(name: str, score: float) -> dict[str, object]:
    return {"index": 0, "label": name, "scores": [{"label": name, "score": score}]}


def test_a_row_that_the_models_own_operator_withheld_leaves_nothing_behind() -> None:
    blocked = label("secret", 0.9) | {"index": 1, "blocked": True, "risk": {"stereotype": 0.2, "harm": 0.93}}
    found = CLASSIFY.read(REQUEST, TARGET, {"data": [label("fine", 0.8), blocked]})
    assert found.payload["data"][1] == {"index": 1, "label": None, "scores": [], "blocked": True}
    assert "secret" not in str(found.payload) and found.answers == ["fine", None] and found.confidence == 0.8
    guard = make_guard("off", Finder())
    guard.withheld_by_model(found.withheld[1])
    assert (guard.report.verdict, guard.report.kind, guard.report.score) == ("withhold", "harm", 0.93)
    odd = make_guard("off", Finder())
    odd.withheld_by_model({"harm": float("nan")})
    assert (odd.report.verdict, odd.report.score) == ("withhold", 1.0)
    with pytest.raises(AttemptFailed):
        CLASSIFY.read(
            REQUEST, TARGET, {"data": [label("fine", 0.8), {"index": 1, "label": "x", "scores": []}]}
        )


def test_whole_answers_hand_every_readable_part_to_the_guard() -> None:
    for route, choice in WHOLE.items():
        if route == "completion":
            continue
        text = CHAT._text(choice)
        assert PLANTED in text, route


def test_flips_are_counted_by_what_the_text_names() -> None:
    probe = with_swaps(
        ["she asked", "a parcel", "he paid"], lambda t: [t + "!"] if "e " in t else [], lambda t: ["gender"]
    )
    assert probe.origins == [0, 2]
    assert by_kind(probe, [2]) == {"gender": [2, 1]}


class Glancing(Finder):
    """Lets texts of its own pass at a look."""

    def __init__(self, answer: object) -> None:
        self.answer, self.scored = answer, 0

    def passes(self, text: str) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def score(self, texts: Sequence[str]) -> np.ndarray:
        self.scored += len(texts)
        return super().score(texts)


@pytest.mark.parametrize("answer", [False, None, "yes", 1, ValueError("broken")])
def test_an_answer_is_scored_unless_a_look_surely_lets_it_pass(answer: object) -> None:
    scorer = Glancing(answer)
    assert make_guard(scorer=scorer).allows(CLEAN) and scorer.scored > 0
    assert not make_guard(scorer=scorer).allows(CLEAN + PLANTED)


def test_an_answer_that_passes_at_a_look_is_not_scored_and_one_whose_names_are_counted_is() -> None:
    scorer = Glancing(True)
    guard = make_guard(scorer=scorer)
    assert guard.allows(CLEAN) and scorer.scored == 0 and guard.report.verdict == "pass"
    counted = make_guard(scorer=scorer)
    counted.naming = lambda text: ["age"]
    assert counted.allows(CLEAN) and scorer.scored > 0 and counted.report.named == ["age"]
