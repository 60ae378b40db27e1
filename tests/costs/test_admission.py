"""Budgets, limits and leases on a real Valkey."""

import asyncio
from datetime import UTC, datetime

import orjson
import pytest
from redis import asyncio as aioredis

from costs.contracts import RateLimit
from costs.courier import PACK_EVENTS
from costs.fresh import bodies_of, fresh_event
from costs.spool import Spool
from switchyard.core.errors import BudgetExhausted, RateLimited
from tests.costs.asks import USD, admission_on, make_ask, make_budget, make_limit, make_settlement


def counter(valkey, budget_id=1, start=0):
    raw = valkey.client().hgetall(f"sy:b:{budget_id}:{start}")
    return {name.decode(): int(value) for name, value in raw.items()}


async def test_a_reservation_is_returned_when_the_call_cost_less(valkey):
    async with admission_on(valkey.url) as admission:
        ask = make_ask(0.30, budgets=(make_budget(),))
        grant = await admission.reserve(ask)
        assert grant.reserved_nusd == 0.30 * USD
        assert grant.budget_used_ppm == {"lob:legal": 300_000}
        assert counter(valkey) == {"spent": 0, "reserved": 0.30 * USD, "limit": USD}
        await admission.settle(make_settlement(ask, 0.10))
        assert counter(valkey) == {"spent": 0.10 * USD, "reserved": 0, "limit": USD}
        assert valkey.client().zcard("sy:leases") == 0
        assert valkey.client().exists(f"sy:r:{ask.request_id}") == 0


async def test_the_event_is_in_the_stream_and_under_its_decision_when_settle_returns(valkey):
    async with admission_on(valkey.url) as admission:
        ask = make_ask(budgets=(make_budget(),))
        await admission.reserve(ask)
        settlement = make_settlement(ask)
        await admission.settle(settlement)
        [(_, entry)] = valkey.client().xrange("sy:usage")
        assert orjson.loads(entry[b"d"]) == settlement.event
        async with aioredis.from_url(valkey.url) as connection:
            assert await fresh_event(connection, f"dec_{ask.request_id}") == settlement.event
            assert await fresh_event(connection, "dec_nobody") is None


async def test_events_that_leave_together_share_an_entry_and_each_is_found_by_its_decision(valkey):
    async with admission_on(valkey.url) as admission:
        asks = [make_ask(0.001, budgets=(make_budget(),)) for _ in range(20)]
        await asyncio.gather(*(admission.reserve(ask) for ask in asks))
        settlements = [make_settlement(ask) for ask in asks]
        await asyncio.gather(*(admission.settle(settlement) for settlement in settlements))
        entries = valkey.client().xrange("sy:usage")
        assert 3 <= len(entries) < 20
        assert all(len(bodies_of(fields)) <= PACK_EVENTS for _, fields in entries)
        told = [orjson.loads(body) for _, fields in entries for body in bodies_of(fields)]
        assert sorted(e["event_id"] for e in told) == sorted(ask.request_id for ask in asks)
        async with aioredis.from_url(valkey.url) as connection:
            for settlement in settlements:
                assert (await fresh_event(connection, settlement.event["decision_id"])) == settlement.event


async def test_what_passengers_of_one_call_reserve_and_spend_adds_up_to_the_nano_dollar(valkey):
    """Small sums are added in the script, what a double can't hold by Valkey: both in one call."""
    async with admission_on(valkey.url) as admission:
        budgets = (make_budget(90_000_000), make_budget(90_000_000, id=2, scope="organisation"))
        costs = [1, 12_345_678_901_234_567, 3, 9_007_199_254_740_993, 7]
        asks = [make_ask(budgets=budgets, worst_case_nusd=cost + 1) for cost in costs]
        await asyncio.gather(*(admission.reserve(ask) for ask in asks))
        assert counter(valkey)["reserved"] == sum(costs) + len(costs)
        await asyncio.gather(
            *(admission.settle(make_settlement(a, cost_nusd=c)) for a, c in zip(asks, costs, strict=True))
        )
        for budget in (1, 2):
            assert counter(valkey, budget) == {"spent": sum(costs), "reserved": 0, "limit": 90_000_000 * USD}


async def test_passengers_of_one_call_see_what_those_before_them_took(valkey):
    async with admission_on(valkey.url) as admission:
        budget, limits = make_budget(0.10), (make_limit(rpm=7),)
        asks = [make_ask(0.02, budgets=(budget,), limits=limits) for _ in range(12)]
        results = await asyncio.gather(*(admission.reserve(ask) for ask in asks), return_exceptions=True)
        assert [isinstance(r, BudgetExhausted) for r in results] == [False] * 5 + [True] * 7
        assert valkey.client().hget("sy:rl:key:k1", "rc") == b"5"
        free = [make_ask(0, limits=limits) for _ in range(5)]
        results = await asyncio.gather(*(admission.reserve(ask) for ask in free), return_exceptions=True)
        assert [isinstance(r, RateLimited) for r in results] == [False] * 2 + [True] * 3


async def test_functions_that_the_server_forgot_are_told_again(valkey):
    async with admission_on(valkey.url) as admission:
        await admission.reserve(make_ask(budgets=(make_budget(),)))
        valkey.client().function_flush()
        grant = await admission.reserve(make_ask(budgets=(make_budget(),)))
        assert grant.reserved_nusd > 0


async def test_a_full_budget_refuses_and_says_which_how_much_and_until_when(valkey):
    async with admission_on(valkey.url) as admission:
        wide = make_budget(100, id=1, scope="organisation")
        narrow = make_budget(0.25, id=2, period="month", timezone="Europe/Berlin")
        with pytest.raises(BudgetExhausted) as caught:
            for _ in range(3):
                ask = make_ask(0.10, budgets=(wide, narrow))
                await admission.reserve(ask)
                await admission.settle(make_settlement(ask, 0.10))
        error = caught.value.body()["error"]
        assert error["code"] == "project_spend_limit_exceeded" and error["type"] == "insufficient_quota"
        assert (error["budget"], error["scope"], error["period"]) == (2, "lob:legal", "month")
        assert (error["spent_usd"], error["limit_usd"]) == ("0.20", "0.25")
        assert error["resets_at"].endswith(("T22:00:00Z", "T23:00:00Z"))  # midnight in Berlin
        assert caught.value.headers()["x-should-retry"] == "false"
        assert counter(valkey, 1)["reserved"] == 0  # the wider budget was not left with a claim


async def test_counters_that_valkey_lost_are_built_from_the_ledger(valkey):
    async def seed(counters):
        return [int(0.95 * USD) for _ in counters]

    async with admission_on(valkey.url, seed=seed) as admission:
        with pytest.raises(BudgetExhausted):
            await admission.reserve(make_ask(0.10, budgets=(make_budget(),)))
        valkey.client().flushall()
        grant = await admission.reserve(make_ask(0.04, budgets=(make_budget(),)))
        assert grant.budget_used_ppm == {"lob:legal": 990_000}


async def test_a_settlement_never_begins_a_lost_counter_at_zero(valkey):
    async with admission_on(valkey.url) as admission:
        ask = make_ask(budgets=(make_budget(),))
        await admission.reserve(ask)
        valkey.client().flushall()
        await admission.settle(make_settlement(ask))
        assert counter(valkey) == {}


async def test_money_beyond_what_a_double_prints_is_counted_to_the_nano_dollar(valkey):
    async with admission_on(valkey.url) as admission:
        ask = make_ask(budgets=(make_budget(50_000_000),), worst_case_nusd=12_345_678_901_234_567)
        await admission.reserve(ask)
        await admission.settle(make_settlement(ask, cost_nusd=12_345_678_901_234_561))
        assert counter(valkey)["spent"] == 12_345_678_901_234_561 and counter(valkey)["reserved"] == 0


async def test_a_warning_budget_lets_everything_through(valkey):
    async with admission_on(valkey.url) as admission:
        budget = make_budget(0.01, action="warn")
        grant = await admission.reserve(make_ask(0.05, budgets=(budget,)))
        assert grant.budget_used_ppm == {"lob:legal": 5_000_000}


async def test_a_throttling_budget_halves_the_rate_once_it_is_past(valkey):
    async with admission_on(valkey.url) as admission:
        budget = make_budget(0.01, action="throttle")
        path = {"budgets": (budget,), "limits": (make_limit(rpm=4),)}
        await admission.reserve(make_ask(0.05, **path))
        await admission.reserve(make_ask(0.05, **path))
        with pytest.raises(RateLimited) as caught:
            await admission.reserve(make_ask(0.05, **path))
        assert caught.value.extra == {"limit": 2, "scope": "key:k1"}


async def test_a_throttling_budget_without_rate_limits_allows_sixty_a_minute(valkey):
    async with admission_on(valkey.url) as admission:
        path = {"budgets": (make_budget(0, action="throttle"),), "limits": ()}
        results = await asyncio.gather(
            *(admission.reserve(make_ask(0.05, **path)) for _ in range(70)), return_exceptions=True
        )
        assert sum(isinstance(r, RateLimited) for r in results) == 10


async def test_a_throttle_names_the_budget_that_slows_and_not_one_with_room(valkey):
    async with admission_on(valkey.url) as admission:
        roomy = make_budget(100, id=1, scope="organisation", action="throttle")
        full = make_budget(0, id=2, scope="lob:legal", action="throttle")
        asks = [make_ask(0.05, budgets=(roomy, full)) for _ in range(70)]
        results = await asyncio.gather(*(admission.reserve(ask) for ask in asks), return_exceptions=True)
        refused = [r for r in results if isinstance(r, RateLimited)]
        assert {r.extra["scope"] for r in refused} == {"lob:legal"} and len(refused) == 10


async def test_of_two_budgets_on_one_scope_the_fuller_is_told(valkey):
    async with admission_on(valkey.url) as admission:
        day, month = make_budget(1.0, id=1), make_budget(100, id=2)
        grant = await admission.reserve(make_ask(0.5, budgets=(day, month)))
        assert grant.budget_used_ppm == {"lob:legal": 500_000}


async def test_a_day_of_25_hours_is_one_budget_and_ends_at_local_midnight(valkey, time_machine):
    """Berlin, 25 October 2026: 22:00 UTC the day before until 23:00 UTC. Two o'clock comes twice, the money doesn't."""
    budget = make_budget(0.10, period="day", timezone="Europe/Berlin")
    async with admission_on(valkey.url) as admission:

        async def spend(*clock, cost=0.05):
            time_machine.move_to(datetime(2026, 10, *clock, tzinfo=UTC), tick=False)
            ask = make_ask(cost, budgets=(budget,))
            await admission.reserve(ask)
            await admission.settle(make_settlement(ask, cost))

        await spend(24, 21, 59, cost=0.10)  # the day before has its own
        await spend(25, 0, 30)  # half past two, summer time
        await spend(25, 1, 30)  # half past two again
        for clock in ((25, 2, 0), (25, 22, 59)):
            with pytest.raises(BudgetExhausted) as caught:
                await spend(*clock)
            assert caught.value.extra["resets_at"] == "2026-10-25T23:00:00Z"
        await spend(25, 23, 0, cost=0.10)


async def test_the_strictest_limit_on_the_path_wins_and_a_refusal_counts_nowhere(valkey):
    async with admission_on(valkey.url) as admission:
        limits = (make_limit("lob:legal", rpm=100), make_limit("key:k1", rpm=3))
        grants = [await admission.reserve(make_ask(limits=limits)) for _ in range(3)]
        assert [g.rate_headers["x-ratelimit-remaining-requests"] for g in grants] == ["2", "1", "0"]
        for _ in range(5):
            with pytest.raises(RateLimited) as caught:
                await admission.reserve(make_ask(limits=limits))
        assert caught.value.extra["scope"] == "key:k1"
        assert 1 <= caught.value.retry_after_s <= 121
        assert valkey.client().hget("sy:rl:lob:legal", "rc") == b"3"


async def test_tokens_a_minute_count_what_was_used_once_it_is_known(valkey):
    async with admission_on(valkey.url) as admission:
        limits = (make_limit(tpm=150),)
        ask = make_ask(limits=limits, tokens=100)
        await admission.reserve(ask)
        with pytest.raises(RateLimited):
            await admission.reserve(make_ask(limits=limits, tokens=100))
        await admission.settle(make_settlement(ask, tokens=40))
        grant = await admission.reserve(make_ask(limits=limits, tokens=100))
        assert grant.rate_headers["x-ratelimit-remaining-tokens"] == "10"


async def test_concurrency_is_freed_by_settling_and_by_releasing(valkey):
    async with admission_on(valkey.url) as admission:
        limits = (RateLimit("key:k1", concurrency=1),)
        first, second = make_ask(limits=limits), make_ask(limits=limits)
        await admission.reserve(first)
        with pytest.raises(RateLimited):
            await admission.reserve(second)
        await admission.settle(make_settlement(first))
        await admission.reserve(second)
        await admission.release(second.request_id)
        await admission.reserve(make_ask(limits=limits))
        assert valkey.client().xlen("sy:usage") == 1  # a release is no event


async def test_a_crashed_process_strands_no_money(valkey):
    async with admission_on(valkey.url, lease_s=0.05) as admission:
        checkpoint = {"event_id": "e", "kind": "usage", "decision_id": "dec_x", "cost_nusd": 7 * USD // 100}
        await admission.reserve(make_ask(0.40, budgets=(make_budget(),)))
        await admission.reserve(make_ask(0.40, budgets=(make_budget(),), checkpoint=checkpoint))
        await asyncio.sleep(0.1)
        await admission.sweep()
        assert counter(valkey) == {"spent": 0.07 * USD, "reserved": 0, "limit": USD}
        [(_, entry)] = valkey.client().xrange("sy:usage")
        assert orjson.loads(entry[b"d"]) == checkpoint


async def test_a_caller_who_goes_away_while_asking_leaves_nothing_reserved(valkey):
    async with admission_on(valkey.url) as admission:
        task = asyncio.create_task(admission.reserve(make_ask(0.40, budgets=(make_budget(),))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            await asyncio.sleep(0.01)
            if counter(valkey).get("reserved", 0) == 0:
                break
        assert counter(valkey).get("reserved", 0) == 0


async def test_callers_of_one_turn_travel_together(valkey):
    async with admission_on(valkey.url) as admission:
        await admission.reserve(make_ask(budgets=(make_budget(),)))
        before = valkey.client().info("commandstats")["cmdstat_fcall"]["calls"]
        await asyncio.gather(
            *(admission.reserve(make_ask(0.001, budgets=(make_budget(),))) for _ in range(50))
        )
        assert valkey.client().info("commandstats")["cmdstat_fcall"]["calls"] - before <= 2


async def test_the_spool_is_empty_once_the_stream_has_the_event(valkey, tmp_path):
    spool = Spool(tmp_path / "spool")
    async with admission_on(valkey.url, spool=spool) as admission:
        ask = make_ask(budgets=(make_budget(),))
        await admission.reserve(ask)
        await admission.settle(make_settlement(ask))
        assert len(spool) == 0
    assert list((tmp_path / "spool").iterdir()) == []
