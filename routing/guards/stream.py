"""Never stream first: frames wait until the text they end in has a verdict, then leave byte for byte as they came."""

from __future__ import annotations

import re

from routing.guards.base import RiskGuard

WINDOW = 400  # characters scored together with what was released before
HOLD = 240  # characters held at most without the end of a sentence
_ENDS = re.compile(r"[.!?。！？\n](?=\s|$)")


class StreamGuard:
    """feed(frame, text) → frames that may go out now; `blocked` once nothing more may.

    Text is held to the end of a sentence, or for at most HOLD characters, and scored with up to WINDOW characters
    before it, so that a phrase split over chunks is seen whole before its last part leaves.
    """

    def __init__(self, guard: RiskGuard) -> None:
        self.guard = guard
        self.blocked = False
        self._released = ""
        self._held: list[tuple[bytes, str]] = []
        self._offset = 0

    def feed(self, frame: bytes, text: str) -> list[bytes]:
        if self.blocked:
            return []
        if self.guard.report.mode == "off":
            return [frame]
        self._held.append((frame, text))
        pending = "".join(part for _, part in self._held)
        if not pending:
            return self._release()
        if self.guard.enforcing and len(pending) < HOLD and not _ENDS.search(pending):
            return []
        if not self.guard.enforcing and len(pending) < HOLD:
            return self._release(keep_pending=True)
        return self._judge(pending)

    def finish(self) -> list[bytes]:
        """The stream ended: the rest gets its verdict."""
        if self.blocked or not self._held:
            return []
        pending = "".join(part for _, part in self._held)
        return self._judge(pending) if pending else self._release()

    def _judge(self, pending: str) -> list[bytes]:
        context = (self._released + pending)[-(WINDOW + len(pending)) :]
        start = max(0, self._offset - (len(context) - len(pending)))
        if not self.guard.allows(context, offset=start):
            self.blocked = True
            self._held.clear()
            return []
        return self._release()

    def _release(self, *, keep_pending: bool = False) -> list[bytes]:
        """Everything held leaves. With `keep_pending` (observe) its text still waits to be scored."""
        frames = [frame for frame, _ in self._held]
        text = "".join(part for _, part in self._held)
        if keep_pending:
            self._held = [(b"", text)]
            return [frame for frame in frames if frame]
        self._released = (self._released + text)[-WINDOW:]
        self._offset += len(text)
        self._held.clear()
        return [frame for frame in frames if frame]
