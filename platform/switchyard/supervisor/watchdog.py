"""Read `+group` and `-group` lines; at end of file without `bye`, end every group that is left, and remove the files
named as arguments (they tell of a product that no longer runs). Standard library only."""

import contextlib
import os
import signal
import sys
import time

GRACE_S = 3.0


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = set()
    for line in sys.stdin:
        word = line.strip()
        if word == "bye":
            return
        if word[:1] == "+":
            groups.add(int(word[1:]))
        elif word[:1] == "-":
            groups.discard(int(word[1:]))
    for name in sys.argv[1:]:
        with contextlib.suppress(OSError):
            os.unlink(name)
    end(groups)


def end(groups: set) -> None:
    """SIGTERM, a little patience, SIGKILL."""
    for number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 0.0)):
        for group in list(groups):
            try:
                os.killpg(group, number)
            except (ProcessLookupError, PermissionError):
                groups.discard(group)
        deadline = time.monotonic() + wait_s
        while groups and time.monotonic() < deadline:
            time.sleep(0.1)
            groups = {group for group in groups if _lives(group)}


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
