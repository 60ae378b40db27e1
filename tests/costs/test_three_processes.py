"""The promise: 200 parallel calls against $1.00 from three processes spend at most $1.00."""

import asyncio
import itertools
import json
import os
import subprocess
import sys

import pytest
import redis

from switchyard.core.errors import BudgetExhausted, RateLimited
from tests.costs.asks import USD, admission_on, make_ask, make_budget, make_limit, make_settlement

CALLS, PRICE_USD, WORST_USD = 67, 0.009, 0.02  # three times 67 ≥ 200 calls of at most two cents


async def all_are_here(url: str) -> None:
    """Wait for the other two: on a busy machine the first could spend everything before they have started."""
    client = redis.Redis.from_url(url)
    client.incr("here")
    while int(client.get("here") or 0) < 3:
        await asyncio.sleep(0.01)


async def spend(url: str, topped_up_in: int) -> dict[str, int]:
    """One gateway process: all its calls at once, each priced below its worst case. With `topped_up_in`, sixty cents are
    the limit until that round, when the approved rest is heard of."""
    granted = refused = spent = 0
    budgets = (make_budget(0.6 if topped_up_in else 1.0),)
    numbers = itertools.count()

    async def one(admission):
        nonlocal granted, refused, spent
        ask = make_ask(WORST_USD, budgets=budgets, request_id=f"req_{os.getpid()}_{next(numbers)}")
        try:
            await admission.reserve(ask)
        except BudgetExhausted:
            refused += 1
            return
        granted += 1
        await asyncio.sleep(0.02)
        await admission.settle(make_settlement(ask, PRICE_USD))
        spent += int(PRICE_USD * USD)

    async with admission_on(url) as admission:
        await all_are_here(url)
        for turn in range(12):  # calls refused while others held the money come again
            if topped_up_in and turn == topped_up_in:
                budgets = (make_budget(0.6, extras=((0, 4 * USD // 10),)),)
            await asyncio.gather(*(one(admission) for _ in range(CALLS)))
            await asyncio.sleep(0.03)
    return {"granted": granted, "refused": refused, "spent": spent}


@pytest.mark.slow
@pytest.mark.parametrize("topped_up_in", [(0, 0, 0), (3, 5, 7)], ids=["plain", "topped up meanwhile"])
def test_three_processes_spend_at_most_the_budget(valkey, topped_up_in):
    """The top-up reaches each process at another moment: what is spent is at most what was granted in all."""
    command = [sys.executable, "-m", "tests.costs.test_three_processes", valkey.url]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["platform", "."])}
    processes = [
        subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, env=environment, text=True)
        for n in topped_up_in
    ]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    spent = sum(r["spent"] for r in results)
    assert spent <= USD
    assert spent > 0.95 * USD  # and it is used up, not starved
    assert sum(r["refused"] for r in results) > 0
    assert sum(r["granted"] > 0 for r in results) >= 2  # they did compete
    counter = {k: int(v) for k, v in valkey.client().hgetall("sy:b:1:0").items()}
    assert (counter[b"spent"], counter[b"reserved"]) == (spent, 0)


RPM, TPM, AT_ONCE = 40, 4000, 6  # each far below what one process alone asks for
KINDS = {"rpm": {"rpm": RPM}, "tpm": {"tpm": TPM}, "concurrency": {"concurrency": AT_ONCE}}


async def press(url: str, kind: str) -> dict[str, int]:
    """One gateway process under a limit that it shares: how many it was let, and how many were inside at most."""
    granted = refused = most = 0
    limits, client = (make_limit(**KINDS[kind]),), redis.Redis.from_url(url)
    numbers = itertools.count()

    async def one(admission):
        nonlocal granted, refused, most
        ask = make_ask(limits=limits, request_id=f"req_{os.getpid()}_{next(numbers)}", tokens=100)
        try:
            await admission.reserve(ask)
        except RateLimited:
            refused += 1
            return
        granted += 1
        most = max(most, int(client.incr("inside")))
        await asyncio.sleep(0.05)
        client.decr("inside")
        await admission.settle(make_settlement(ask, tokens=100))

    async with admission_on(url) as admission:
        await all_are_here(url)
        for _ in range(4):
            await asyncio.gather(*(one(admission) for _ in range(CALLS)))
    return {"granted": granted, "refused": refused, "most": most}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_limits_hold_over_three_processes(valkey, kind):
    """A minute that ends meanwhile gives back the share of itself that has gone: a few calls, never another limit."""
    command = [sys.executable, "-m", "tests.costs.test_three_processes", valkey.url, kind]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["platform", "."])}
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(3)
    ]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    granted, refused = (sum(r[what] for r in results) for what in ("granted", "refused"))
    assert refused > 0 and granted + refused == 3 * 4 * CALLS
    if kind == "concurrency":
        assert 1 < max(r["most"] for r in results) <= AT_ONCE and granted >= AT_ONCE
    else:
        most = RPM if kind == "rpm" else TPM // 100
        assert most <= granted <= 1.5 * most  # three limits of their own would let 120


if __name__ == "__main__":
    work = press if sys.argv[2] in KINDS else spend
    print(json.dumps(asyncio.run(work(sys.argv[1], sys.argv[2] if work is press else int(sys.argv[2])))))
