"""The garbage collector of a web process: what lives until the end is never looked at, what a request left behind soon is.

By itself the collector would come after 50,000 objects, which nearly never happens: requests leave next to nothing that counting
references doesn't free (tests/routing/execution/test_let_go.py). The little that is left would lie there for hours.
"""

from __future__ import annotations

import asyncio
import gc

EVERY_S = 10.0  # the young: about a millisecond
WHOLE_EVERY = 30  # of these it looks at the old, too, but for what was frozen


def freeze() -> None:
    """What lives until the end needn't be looked at by every collection."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def keep_collecting(every_s: float = EVERY_S, whole_every: int = WHOLE_EVERY) -> None:
    turn = 0
    while True:
        await asyncio.sleep(every_s)
        turn += 1
        gc.collect(1 if turn % whole_every else 2)
