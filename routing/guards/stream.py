"""Never stream first: frames wait until the text in them has a verdict, then leave byte for byte as they came."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from routing.guards.base import RiskGuard
from routing.guards.pieces import last_end, pieces

HOLD = 320  # characters without the end of a sentence after which the front of them is judged
TAIL = 160  # of which so many stay held: what they begin may end badly


@dataclass(slots=True)
class _Choice:
    """The text of one choice from `start` on; everything before `safe` (absolute) has its verdict."""

    text: str = ""
    start: int = 0
    safe: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def judge(self, guard: RiskGuard, *, finish: bool) -> bool:
        """Judge what may be judged now and move `safe` on. False: it may not go out."""
        pending = self.text[self.safe - self.start :]
        cut = len(pending) if finish else last_end(pending)
        parts = pieces(pending[:cut], self.safe)
        if not cut and len(pending) >= HOLD:
            cut = len(pending) - TAIL
            parts = [(self.safe, pending)]
        if not cut:
            return True
        if not guard.judge(parts):
            return False
        self.safe += cut
        self.text, self.start = self.text[self.safe - self.start :], self.safe
        return True


class StreamGuard:
    """feed(frame, texts by channel) → frames that may go out now; `blocked` once nothing more may.

    A channel is a text of its own: one choice's content, its reasoning, the arguments of one of its tool calls. Holding back:
    a frame waits until the sentences its text lies in were judged, or HOLD characters without an end were (their last TAIL
    stay held). The first frame waits as well, so that no 200 is sent before a verdict. Buffering: everything waits for the
    end. Observing: frames leave at once, and the same judgements are only written down.
    """

    def __init__(self, guard: RiskGuard) -> None:
        self.guard = guard
        self.blocked = False
        self._opened = False
        self._choices: dict[Hashable, _Choice] = {}
        # frame, (channel, where its text ends)
        self._held: deque[tuple[bytes, list[tuple[Hashable, int]]]] = deque()

    def feed(self, frame: bytes, texts: Mapping[Hashable, str]) -> list[bytes]:
        if self.blocked:
            return []
        if self.guard.report.mode == "off":
            return [frame]
        ends: list[tuple[Hashable, int]] = []
        for index, text in texts.items():
            choice = self._choices.setdefault(index, _Choice())
            choice.text += text
            ends.append((index, choice.end))
            if not self._judge(choice, finish=False):
                return []
        if not self.guard.holding:
            return [frame]
        self._held.append((frame, ends))
        return [] if self.guard.whole_only else self._released()

    def finish(self) -> list[bytes]:
        """The stream ended: the rest gets its verdict."""
        if self.blocked:
            return []
        for choice in self._choices.values():
            if not self._judge(choice, finish=True):
                return []
        rest = [frame for frame, _ in self._held]
        self._held.clear()
        return rest

    def _judge(self, choice: _Choice, *, finish: bool) -> bool:
        if choice.judge(self.guard, finish=finish):
            return True
        self.blocked = True
        self._held.clear()
        return False

    def _released(self) -> list[bytes]:
        """Frames from the front whose text is safe. The first needs some safe text, or the end, before it."""
        if not self._opened and not any(choice.safe for choice in self._choices.values()):
            return []
        out = []
        while self._held and all(end <= self._choices[index].safe for index, end in self._held[0][1]):
            out.append(self._held.popleft()[0])
            self._opened = True
        return out
