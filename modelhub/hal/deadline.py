"""Stop waiting for what takes too long. The thread that was waited for is left behind and never keeps the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class TookTooLong(TimeoutError):
    """The call did not return in its time."""


def within(seconds: float, call: Callable[[], T]) -> T:
    """The call's result, or TookTooLong. Whatever the call raises is raised here."""
    box: dict[str, Any] = {}

    def work() -> None:
        try:
            box["value"] = call()
        except BaseException as error:
            box["error"] = error

    thread = threading.Thread(target=work, name="hal-deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in box:
        raise box["error"]
    if "value" not in box:
        raise TookTooLong(f"no answer within {seconds:g} s")
    return box["value"]  # type: ignore[no-any-return]
