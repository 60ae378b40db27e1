"""Whether an error means that the disk is full, whoever met it: Python, torch, or a library in another language."""

from __future__ import annotations

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)
WORDS = ("no space left on device", "disk quota exceeded", "database or disk is full")
TOLD = (
    "The disk is full, and what was half written was dropped. Make room under the home, then retry the job: it goes on from its "
    "last whole checkpoint."
)


def is_full(error: BaseException | None) -> bool:
    """Also of what lies behind it: libraries wrap the system's error in one of their own, some keep only its words."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(words in str(error).lower() for words in WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False
