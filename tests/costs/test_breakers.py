"""Circuit breakers: closed → open → half-open, shared by every process through Valkey."""

import asyncio

import pytest

from tests.costs.asks import admission_on, make_ask, make_settlement

TWO = ("ext-mini", "private-sparse")


async def call(admission, *, well, breakers=TWO):
    """One request to the first deployment that admits; gives its grant."""
    ask = make_ask(breakers=breakers)
    grant = await admission.reserve(ask)
    if grant.deployment is not None:
        await admission.settle(make_settlement(ask, outcomes=((grant.deployment, well),)))
    return grant


def let_time_pass(valkey, deployment):
    valkey.client().hset(f"sy:cb:{deployment}", mapping={"ou": 1, "pu": 1})


async def test_five_failures_in_a_row_open_it_for_every_process(valkey):
    async with admission_on(valkey.url) as one, admission_on(valkey.url) as other:
        for _ in range(5):
            assert (await call(one, well=False)).deployment == "ext-mini"
        grant = await call(other, well=True)
        assert grant.deployment == "private-sparse"
        assert grant.open_breakers == {"ext-mini"}


async def test_a_success_in_between_begins_the_row_anew(valkey):
    async with admission_on(valkey.url) as admission:
        for _ in range(2):
            for _ in range(4):
                await call(admission, well=False)
            for _ in range(5):  # keeps the failing share under a half
                await call(admission, well=True)
        assert (await call(admission, well=True)).deployment == "ext-mini"


async def test_half_of_twenty_failing_opens_it_without_five_in_a_row(valkey):
    async with admission_on(valkey.url) as admission:
        for i in range(19):
            assert (await call(admission, well=bool(i % 2))).deployment == "ext-mini"
        await call(admission, well=False)
        assert (await call(admission, well=True)).deployment == "private-sparse"


async def test_one_probe_is_let_through_and_its_success_closes_it(valkey):
    async with admission_on(valkey.url) as one, admission_on(valkey.url) as other:
        for _ in range(5):
            await call(one, well=False)
        let_time_pass(valkey, "ext-mini")
        probe = make_ask(breakers=TWO)
        assert (await one.reserve(probe)).deployment == "ext-mini"
        assert (await call(other, well=True)).deployment == "private-sparse"
        await one.settle(make_settlement(probe, outcomes=(("ext-mini", True),)))
        assert (await call(other, well=True)).deployment == "ext-mini"


async def test_a_failed_probe_opens_it_for_twice_as_long(valkey):
    async with admission_on(valkey.url) as admission:
        for _ in range(5):
            await call(admission, well=False)
        first = int(valkey.client().hget("sy:cb:ext-mini", "dl"))
        let_time_pass(valkey, "ext-mini")
        await call(admission, well=False)
        assert int(valkey.client().hget("sy:cb:ext-mini", "dl")) == 2 * first
        assert (await call(admission, well=True)).deployment == "private-sparse"


@pytest.mark.parametrize("end", ["released", "settled without calling"])
async def test_a_probe_that_never_called_lets_the_next_one_probe(valkey, end):
    async with admission_on(valkey.url) as admission:
        for _ in range(5):
            await call(admission, well=False)
        let_time_pass(valkey, "ext-mini")
        ask = make_ask(breakers=TWO)
        await admission.reserve(ask)
        if end == "released":
            await admission.release(ask.request_id)
        else:
            await admission.settle(make_settlement(ask))
        assert (await call(admission, well=True)).deployment == "ext-mini"


async def test_calls_from_before_it_opened_do_not_close_it(valkey):
    async with admission_on(valkey.url) as admission:
        early = make_ask(breakers=TWO)
        await admission.reserve(early)
        for _ in range(5):
            await call(admission, well=False)
        await admission.settle(make_settlement(early, outcomes=(("ext-mini", True),)))
        assert (await call(admission, well=True)).deployment == "private-sparse"


async def test_when_none_admits_nothing_is_reserved(valkey):
    async with admission_on(valkey.url) as admission:
        for _ in range(5):
            await call(admission, well=False, breakers=("ext-mini",))
        ask = make_ask(breakers=("ext-mini",))
        grant = await admission.reserve(ask)
        assert grant.deployment is None and grant.open_breakers == {"ext-mini"} and grant.reserved_nusd == 0


async def test_whoever_asked_to_be_left_alone_is_for_that_long_by_every_process(valkey):
    async with admission_on(valkey.url) as one, admission_on(valkey.url) as other:
        ask = make_ask(breakers=TWO)
        await one.reserve(ask)
        await one.settle(make_settlement(ask, outcomes=(("ext-mini", True, 300),)))
        grant = await other.reserve(make_ask(breakers=TWO))
        assert grant.deployment == "private-sparse" and grant.open_breakers == {"ext-mini"}
        alone = await other.reserve(make_ask(breakers=("ext-mini",)))
        assert alone.deployment is None and 0 < alone.busy_s <= 0.3
        await asyncio.sleep(0.35)
        assert (await other.reserve(make_ask(breakers=TWO))).deployment == "ext-mini"


async def test_two_organisations_with_one_name_have_two_breakers(valkey):
    async with admission_on(valkey.url) as admission:
        for _ in range(5):
            ask = make_ask(breakers=TWO, organisation_id=1)
            await admission.reserve(ask)
            await admission.settle(make_settlement(ask, outcomes=(("ext-mini", False),)))
        assert (
            await admission.reserve(make_ask(breakers=TWO, organisation_id=1))
        ).deployment == "private-sparse"
        assert (await admission.reserve(make_ask(breakers=TWO, organisation_id=2))).deployment == "ext-mini"


async def test_what_a_health_probe_found_opens_the_breaker(valkey):
    async with admission_on(valkey.url) as admission:
        await admission.tell(7, [("ext-mini", False)] * 5)
        assert (
            await admission.reserve(make_ask(breakers=TWO, organisation_id=7))
        ).deployment == "private-sparse"
