"""The connection to Valkey: replies in order, one clock for all of them, and one caller's mistake is his own."""

import asyncio

import pytest

from costs.link import LinkDown, ScriptUnknown, ValkeyLink


class Heard:
    """Replies and errors in the order in which they came."""

    def __init__(self) -> None:
        self.told = []
        self.all_here = asyncio.Event()

    def __call__(self, reply, error):
        self.told.append(error if error is not None else reply)
        self.all_here.set()


async def test_replies_go_to_who_asked_in_order(valkey):
    link, heard = ValkeyLink(valkey.url), [Heard() for _ in range(5)]
    await link.call("PING")
    for number, one in enumerate(heard):
        link.submit(one, "ECHO", str(number))
    await heard[-1].all_here.wait()
    assert [one.told for one in heard] == [[str(n).encode()] for n in range(5)]
    link.close()


async def test_what_is_submitted_before_there_is_a_connection_waits_for_it(valkey):
    link, heard = ValkeyLink(valkey.url), Heard()
    link.submit(heard, "ECHO", "early")
    await asyncio.wait_for(heard.all_here.wait(), 5)
    assert heard.told == [b"early"]
    link.close()


async def test_errors_are_told_by_kind(valkey):
    link, heard = ValkeyLink(valkey.url), Heard()
    with pytest.raises(ScriptUnknown):
        await link.call("EVALSHA", "0" * 40, "0")
    with pytest.raises(RuntimeError):
        await link.call("NOSUCH")
    link.submit(heard, "EVALSHA", "0" * 40, "0")
    await asyncio.wait_for(heard.all_here.wait(), 5)
    assert isinstance(heard.told[0], ScriptUnknown)
    link.close()


async def test_one_callers_mistake_leaves_the_others_their_replies(valkey):
    def wrong(reply, error):
        raise KeyError("a mistake")

    link, heard = ValkeyLink(valkey.url), Heard()
    await link.call("PING")
    link.submit(wrong, "PING")
    link.submit(heard, "ECHO", "mine")
    await asyncio.wait_for(heard.all_here.wait(), 5)
    assert heard.told == [b"mine"] and await link.call("ECHO", "again") == b"again"
    link.close()


async def test_a_reply_that_does_not_come_in_time_ends_the_connection_for_all_who_wait(valkey):
    link, heard = ValkeyLink(valkey.url, timeout_s=0.1), [Heard(), Heard()]
    await link.call("PING")
    link.submit(heard[0], "BLPOP", "nothing-there", "5")
    link.submit(heard[1], "PING")
    await asyncio.wait_for(heard[1].all_here.wait(), 5)
    assert [type(one.told[0]) for one in heard] == [LinkDown, LinkDown]
    assert await link.call("ECHO", "a new one") == b"a new one"
    await asyncio.sleep(0.15)
    assert await link.call("ECHO", "which stays") == b"which stays"
    link.close()
