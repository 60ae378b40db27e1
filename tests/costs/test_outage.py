"""Valkey away: strict budgets refuse, others go on, and nothing answered is lost."""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from costs.spool import Spool
from switchyard.core.errors import BudgetUnavailable, RateLimited
from tests.costs.asks import admission_on, make_ask, make_budget, make_limit, make_settlement
from tests.fakes.valkey import ValkeyServer


@pytest.fixture
def own_valkey():
    folder = Path(tempfile.mkdtemp(prefix="sy-vk-", dir="/tmp"))
    server = ValkeyServer(folder, append_only=True).start()
    yield server
    server.kill()
    shutil.rmtree(folder)


async def test_a_stopping_budget_refuses_while_its_counters_are_out_of_reach(own_valkey):
    async with admission_on(own_valkey.url) as admission:
        own_valkey.kill()
        with pytest.raises(BudgetUnavailable) as caught:
            await admission.reserve(make_ask(budgets=(make_budget(),)))
        assert caught.value.status == 503 and caught.value.code == "budget_unavailable"
        started = time.monotonic()
        with pytest.raises(BudgetUnavailable):
            await admission.reserve(make_ask(budgets=(make_budget(),)))
        assert time.monotonic() - started < 0.1  # nobody waits for it again


@pytest.mark.parametrize("changes", [{"action": "warn"}, {"action": "stop", "on_outage": "allow"}])
async def test_other_budgets_go_on_and_say_so(own_valkey, changes):
    async with admission_on(own_valkey.url) as admission:
        own_valkey.kill()
        grant = await admission.reserve(make_ask(budgets=(make_budget(**changes),), breakers=("a", "b")))
        assert grant.degraded and grant.deployment == "a"


async def test_local_limits_hold_with_this_processes_share(own_valkey):
    async with admission_on(own_valkey.url, processes=3) as admission:
        own_valkey.kill()
        limits = (make_limit(rpm=6, concurrency=30),)
        for _ in range(2):
            await admission.reserve(make_ask(limits=limits))
        with pytest.raises(RateLimited):
            await admission.reserve(make_ask(limits=limits))


async def test_an_event_settled_during_the_outage_is_in_the_stream_after_it(own_valkey, tmp_path):
    spool = Spool(tmp_path / "spool")
    async with admission_on(own_valkey.url, spool=spool, retry_s=0.05) as admission:
        ask = make_ask(budgets=(make_budget(),))
        await admission.reserve(ask)
        own_valkey.kill()
        await admission.settle(make_settlement(ask))
        assert len(spool) == 1
        assert ask.request_id.encode() in b"".join(p.read_bytes() for p in (tmp_path / "spool").iterdir())
        own_valkey.start()
        for _ in range(100):
            await asyncio.sleep(0.02)
            if not len(spool):
                break
        assert len(spool) == 0
        assert own_valkey.client().xlen("sy:usage") == 1
        await admission.reserve(make_ask(budgets=(make_budget(),)))


async def test_a_full_spool_refuses_new_calls(own_valkey, tmp_path):
    spool = Spool(tmp_path / "spool", max_bytes=100)
    async with admission_on(own_valkey.url, spool=spool) as admission:
        own_valkey.kill()
        budget = make_budget(action="warn")
        while not spool.full:
            ask = make_ask(budgets=(budget,))
            await admission.reserve(ask)
            await admission.settle(make_settlement(ask))
        with pytest.raises(BudgetUnavailable):
            await admission.reserve(make_ask(budgets=(budget,)))
