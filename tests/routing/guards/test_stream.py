"""A guarded stream: clean text leaves byte for byte, a risky sentence not at all, wherever the chunks cut it."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np
import pytest

from routing.guards.base import RiskGuard
from routing.guards.pieces import ENDS, LONG, last_end, pieces
from routing.guards.stream import HOLD, StreamGuard

PLANTED = "they are all vermin"
CLEAN = "The parcel left on Monday. It should arrive by Friday! " * 6


class Scorer:
    """1 for a text that holds the planted phrase; remembers how much it read."""

    def __init__(self) -> None:
        self.read = 0

    def score(self, texts: Sequence[str]) -> np.ndarray:
        self.read += sum(map(len, texts))
        return np.array([1.0 if PLANTED in text else 0.0 for text in texts])


def make_guard(mode: str = "enforce", scorer: object = None, **kwargs: object) -> RiskGuard:
    values = {"threshold": 0.5, "keep_text": False, "timeout_ms": 1000} | kwargs
    return RiskGuard(scorer if scorer is not None else Scorer(), mode=mode, **values)  # type: ignore[arg-type]


def through(guard: RiskGuard, parts: Sequence[str]) -> tuple[str, bool]:
    """What a reader gets of these chunks, and whether the stream was blocked."""
    stream = StreamGuard(guard)
    out = b""
    for part in parts:
        out += b"".join(stream.feed(part.encode(), {0: part}))
    out += b"".join(stream.finish())
    return out.decode(), stream.blocked


def cut(text: str, seed: int) -> list[str]:
    """Chunks of one to nine characters."""
    draw, parts, at = random.Random(seed), [], 0
    while at < len(text):
        size = draw.randint(1, 9)
        parts.append(text[at : at + size])
        at += size
    return parts


@pytest.mark.parametrize("seed", range(5))
def test_clean_text_leaves_byte_for_byte(seed: int) -> None:
    assert through(make_guard(), cut(CLEAN, seed)) == (CLEAN, False)


@pytest.mark.parametrize("ending", [". And so on and on.", " and so on without any end", ""])
def test_a_planted_phrase_is_never_begun_wherever_it_stands_and_however_it_is_cut(ending: str) -> None:
    for offset in range(0, len(CLEAN), 7):
        text = CLEAN[:offset] + PLANTED + ending
        guard = make_guard()
        out, blocked = through(guard, cut(text, offset))
        assert blocked and guard.report.verdict == "withhold"
        assert text.startswith(out) and len(out) <= offset


def test_a_phrase_in_a_sentence_without_end_is_held_back_too() -> None:
    endless = "word " * 200
    for offset in range(0, 900, 45):
        text = endless[:offset] + PLANTED + " " + endless
        out, blocked = through(make_guard(), cut(text, offset))
        assert blocked and len(out) <= offset


def test_choices_are_read_apart() -> None:
    stream = StreamGuard(make_guard())
    words = PLANTED.split(" ")
    out: list[bytes] = []
    for word in words:
        out += stream.feed(b"0", {0: word + " "})
        out += stream.feed(b"1", {1: "fine "})
    out += stream.finish()
    assert stream.blocked and out == []


def test_nothing_leaves_before_a_verdict_not_even_the_first_empty_frame() -> None:
    stream = StreamGuard(make_guard())
    assert stream.feed(b"role", {}) == [] and stream.feed(b"a", {0: "Hello"}) == []
    assert stream.feed(b"b", {0: ". Then"}) == [b"role", b"a"]
    assert stream.finish() == [b"b"]


def test_observing_lets_everything_pass_at_once_and_writes_it_down() -> None:
    guard = make_guard("observe")
    stream = StreamGuard(guard)
    text = CLEAN + PLANTED + "."
    assert all(stream.feed(part.encode(), {0: part}) == [part.encode()] for part in cut(text, 1))
    assert stream.finish() == [] and not stream.blocked
    assert (guard.report.verdict, guard.report.kind) == ("pass", "harm")
    start, end = guard.report.spans[0]
    assert PLANTED in text[start:end]


def test_off_reads_nothing() -> None:
    scorer = Scorer()
    assert through(make_guard("off", scorer), cut(CLEAN + PLANTED, 2)) == (CLEAN + PLANTED, False)
    assert scorer.read == 0


def test_reading_is_linear_in_the_text() -> None:
    scorer = Scorer()
    text = "word " * 4000
    through(make_guard(scorer=scorer), cut(text, 3))
    assert scorer.read < 4 * len(text)


def test_a_missing_failing_or_slow_guard_is_unavailable_and_only_an_enforcing_one_withholds() -> None:
    class Failing:
        def score(self, texts: Sequence[str]) -> np.ndarray:
            raise RuntimeError("no")

    ticks = iter(range(1000))
    cases = {
        "missing": {"scorer": None},
        "failing": {"scorer": Failing()},
        "slow": {"scorer": Scorer(), "timeout_ms": 50, "clock": lambda: float(next(ticks))},
    }
    for name, kwargs in cases.items():
        for mode in ("enforce", "observe"):
            values = {"threshold": 0.5, "keep_text": False, "timeout_ms": 1000} | kwargs
            guard = RiskGuard(mode=mode, **values)  # type: ignore[arg-type]
            assert guard.allows("Hello there.") is (mode == "observe"), name
            assert guard.report.verdict == "guard_unavailable"


def test_a_score_that_is_no_number_blocks() -> None:
    class Broken:
        def score(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([float("nan")] * len(texts))

    assert not make_guard(scorer=Broken()).allows("Hello there.")


def test_text_is_kept_only_where_the_line_of_business_opted_in() -> None:
    for keep in (True, False):
        guard = make_guard(keep_text=keep)
        guard.allows(PLANTED)
        assert guard.report.as_json().get("text") == (PLANTED if keep else None)


def test_sentences_end_where_a_pattern_written_plainly_says() -> None:
    ends = re.compile(r"[.!?][\"')\]]*(?=\s)|[。！？\n]+")
    draw = random.Random(6)
    some = [
        "a",
        "word ",
        ".",
        " ",
        "!",
        "?",
        "\n",
        "。",
        "！",
        '"',
        "'",
        ")",
        "]",
        "\t",
        "\u3000",
        "…",
        "x" * 45,
    ]
    for _ in range(5000):
        text = "".join(draw.choices(some, k=draw.randint(0, 30)))
        wanted = [match.end() for match in ends.finditer(text)]
        assert [match.end() for match in ENDS.finditer(text)] == wanted, text
        assert last_end(text) == (wanted[-1] if wanted else 0)


def test_an_observing_guard_tells_the_highest_score_and_then_the_first_finding_of_it() -> None:
    class Telling:
        def score(self, texts: Sequence[str]) -> list[float]:
            return [float(text) for text in texts]

    guard = make_guard("observe", Telling())
    assert guard.judge([(0, "0.1"), (4, "0.31237"), (9, "0.2")]) and guard.report.score == 0.3124
    assert guard.judge([(20, "0.4"), (24, "0.9"), (30, "0.45"), (40, "0.95")])
    assert guard.report.score == 0.9 and guard.report.spans == [(24, 27), (40, 44)]
    assert guard.judge([(50, "0.2")]) and guard.report.score == 0.9


def test_pieces_are_sentences_that_cover_the_text() -> None:
    text = (
        "Yes. This is the first sentence of a longer answer. 这是第二句话，也不太短的一句话，大家都看得懂吧对不对呀没错的。"
        + "x" * 900
    )
    found = pieces(text, 10)
    assert found[0] == (10, "Yes. This is the first sentence of a longer answer.")
    assert all(text[at - 10 : at - 10 + len(part)] == part and len(part) <= LONG for at, part in found)
    covered = {i for at, part in found for i in range(at - 10, at - 10 + len(part))}
    assert covered == set(range(len(text))) and HOLD < LONG
