"""Scheduled work does its part and can be run again."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from costs import tasks
from costs.metering import record_events
from costs.models import Alert, Attempt, LedgerEntry, Node, NodeInterval, Price, SpendHour
from costs.selectors import node_rates, price_sheets
from costs.sheets.dated import create_price
from costs.sheets.in_force import price_in_force
from modelhub.tasks import run_job
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.jobs.models import Job
from tests.costs.asks import admission_on, make_ask, make_budget
from tests.costs.events import NOON, make_event, private_attempt
from tests.factories import make_organisation

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation(db):
    return make_organisation()


def test_roll_ups_and_intervals_are_brought_up(organisation):
    Node.objects.create(
        organisation=organisation,
        name="node-cpu-1",
        usd_per_hour=Decimal("0.05"),
        created_at=now() - timedelta(hours=4),
    )
    at = (now() - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    record_events([make_event(private_attempt(), at=at, organisation_id=organisation.pk)])
    assert tasks.refresh_rollups() == 1 and SpendHour.objects.count() == 1
    assert tasks.close_intervals() >= 3
    assert tasks.close_intervals() == 0
    assert NodeInterval.objects.get(start=at).used_nusd > 0


def test_a_crashed_gateways_reservations_are_swept(valkey, settings):
    settings.REDIS_URL = valkey.url

    async def crash():
        async with admission_on(valkey.url, lease_s=0.01) as admission:
            await admission.reserve(make_ask(0.4, budgets=(make_budget(),)))
            await asyncio.sleep(0.05)

    asyncio.run(crash())
    assert tasks.sweep_leases() == 1 and tasks.sweep_leases() == 0
    assert valkey.client().hget("sy:b:1:0", "reserved") == b"0"


def test_books_that_do_not_hold_raise_one_alert_a_day(organisation):
    record_events([make_event(organisation_id=organisation.pk)])
    Attempt.objects.create(
        request_id="req_x", organisation_id=organisation.pk, at=NOON, lob="legal", deployment="d", side="private",
        model="m", price_version="p", cost_nusd=5,
    )  # fmt: skip
    assert tasks.verify_books() == tasks.verify_books() == 1
    job = Job.objects.get(kind="verify_books")  # the second look found the first one waiting
    run_job(job.pk)
    job.refresh_from_db()
    found = job.result["findings"]
    assert (
        job.state == "succeeded" and job.result["holds"] is False and any("attempts cost" in f for f in found)
    )
    tasks.verify_books()
    run_job(Job.objects.get(state="queued").pk)
    assert sorted(Alert.objects.filter(kind="books").values_list("message", flat=True)) == sorted(found)


def test_books_that_hold_say_so_and_raise_nothing(organisation, valkey, settings):
    settings.REDIS_URL = valkey.url
    record_events([make_event(organisation_id=organisation.pk)])
    tasks.verify_books()
    job = Job.objects.get(kind="verify_books")
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result["findings"], job.result["holds"]) == ("succeeded", [], True)
    assert not Alert.objects.exists()


def test_a_price_is_dated_and_its_successor_closes_it(organisation):
    def add(day, **changes):
        return create_price(
            organisation_id=organisation.pk, deployment="ext-mini", valid_from=NOON + timedelta(days=day),
            source="book, 2026-11-01", actor=None, **{"input_nusd_per_munit": 50_000_000 + day} | changes,
        )  # fmt: skip

    first, second = add(0), add(10)
    first.refresh_from_db()
    assert first.valid_to == second.valid_from
    assert price_in_force(organisation.pk, "ext-mini", NOON + timedelta(days=9)).version == first.version
    assert price_sheets(organisation.pk, NOON + timedelta(days=10))["ext-mini"].version == second.version
    assert price_sheets(organisation.pk, NOON - timedelta(days=1)) == {}
    with pytest.raises(ValidationFailed, match="overlap"):
        add(5)
    with pytest.raises(ValidationFailed, match="end after"):
        add(20, valid_to=NOON)
    assert Price.objects.count() == 2


def test_a_node_without_a_cost_has_no_rate_and_a_changed_cost_another_version(organisation):
    node = Node.objects.create(organisation=organisation, name="n", usd_per_hour=Decimal("0.05"))
    Node.objects.create(organisation=organisation, name="free")
    before = node_rates(organisation.pk)
    assert list(before) == ["n"] and before["n"].nusd_per_hour == 50_000_000
    node.planned_utilisation = Decimal("0.5")
    node.save()
    assert node_rates(organisation.pk)["n"].version != before["n"].version


def test_the_demonstration_leaves_nothing_behind(organisation):
    from costs.demonstration import remove_demonstration

    record_events(
        [
            make_event(organisation_id=organisation.pk, origin=o)
            for o in ("demonstration", "live", "demonstration")
        ]
    )
    removed = remove_demonstration(organisation.pk)
    assert removed["attempts"] == removed["ledger entries"] == 2
    assert LedgerEntry.objects.get().origin == Attempt.objects.get().origin == "live"
