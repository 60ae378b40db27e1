"""Limits that are known to be reached, for a moment and no longer."""

import pytest

from costs.contracts import RateLimit
from costs.turned_away import TurnedAway
from switchyard.core.errors import RateLimited
from tests.costs.asks import admission_on, make_ask, make_limit

RPM, TPM = RateLimit("lob:legal", rpm=10), RateLimit("key:k1", tpm=400)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def away(clock) -> TurnedAway:
    return TurnedAway(clock)


def test_who_comes_next_is_told_how_long_is_left(away, clock):
    away.note(RPM, "rpm", 10, 30.0, 100)
    clock.now += 0.9
    with pytest.raises(RateLimited) as caught:
        away.check((TPM, RPM), 1_000)
    assert caught.value.retry_after_s == pytest.approx(29.1)
    assert caught.value.extra == {"limit": 10, "scope": "lob:legal"}
    away.check((TPM,), 1_000)  # who isn't under it


def test_after_a_second_the_counters_are_asked_again(away, clock):
    away.note(RPM, "rpm", 10, 30.0, 100)
    clock.now += 1.01
    away.check((RPM,), 1_000)


def test_nobody_waits_longer_than_the_counters_said(away, clock):
    away.note(RPM, "rpm", 10, 0.05, 100)
    clock.now += 0.06
    away.check((RPM,), 1_000)


def test_another_limit_of_the_scope_is_another_matter(away):
    away.note(RPM, "rpm", 10, 30.0, 100)
    away.check((RateLimit("lob:legal", rpm=20),), 1_000)


def test_what_is_smaller_than_what_did_not_fit_may_ask(away):
    away.note(TPM, "tpm", 400, 30.0, 300)
    away.check((TPM,), 1_000)  # 250 tokens
    away.check((TPM,), 0)  # nobody said how long it is
    with pytest.raises(RateLimited):
        away.check((TPM,), 1_200)


def test_a_place_at_a_time_may_be_free_the_next_moment(away):
    limit = RateLimit("key:k1", concurrency=1)
    away.note(limit, "concurrency", 1, 1.0, 100)
    away.check((limit,), 1_000)


async def test_admission_notes_what_the_counters_refused(valkey):
    async with admission_on(valkey.url) as admission:
        limits = (make_limit(rpm=1),)
        await admission.reserve(make_ask(limits=limits))
        admission.turned_away.check(limits, 1_000)
        with pytest.raises(RateLimited):
            await admission.reserve(make_ask(limits=limits))
        with pytest.raises(RateLimited):
            admission.turned_away.check(limits, 1_000)
