"""What only the collector can free doesn't wait for fifty thousand others."""

import asyncio
import gc
import weakref

import pytest

from switchyard.gateway.collecting import keep_collecting


class Loop:
    def __init__(self):
        self.itself = self


@pytest.mark.parametrize("old", [False, True], ids=["left by a request", "left by what lived for long"])
async def test_a_cycle_is_gone_after_a_while_without_fifty_thousand_objects(old):
    gc.collect()
    gc.disable()
    try:
        thing = Loop()
        if old:
            gc.collect()  # what survives is old
        seen = weakref.ref(thing)
        del thing
        assert seen() is not None
        keeper = asyncio.create_task(keep_collecting(0.001, 2))
        for _ in range(1_000):
            if seen() is None:
                break
            await asyncio.sleep(0.005)
        keeper.cancel()
        assert seen() is None
    finally:
        gc.enable()
