"""Live traffic, evaluations and a replay against the stand-in's real server: its own bill and the books agree to zero."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import Attempt, BillCheck
from costs.reconciliation.fetching import NoBill, fetch_bill
from costs.reconciliation.service import reconcile_usage
from costs.tasks.reconciliation import reconcile_bills
from modelhub.recipes.endpoints import Endpoint
from modelhub.services.job_costs import book_vendor_calls
from modelhub.serving.bill import Bill
from routing.execution.fallback import Executor
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest, UpstreamFailure
from tests import factories
from tests.fakes.gateway import RunningGateway
from tests.fakes.stand_in import StandIn
from tests.switchyard.jobs.people import make_job

POLICY = """\
rules:
  - name: compared
    when: workload.name == "compared"
    route: {prefer: [private-a], shadow: [ext-text]}
  - name: small model first
    when: workload.name == "cascaded"
    route: {cascade: [ext-text, private-a], until: "confidence >= 0.95"}
  - name: text
    when: request.tokens_in >= 0 && workload.task == "classification"
    route: {prefer: [ext-text], fallback: [private-a]}
  - name: words
    when: workload.task == "chat"
    route: {prefer: [ext-words]}
default: deny
"""
WORKLOADS = {
    "sorted": "classification",
    "compared": "classification",
    "cascaded": "classification",
    "chatter": "chat",
}


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    with StandIn(tmp_path, tuple(WORKLOADS)) as server:
        yield server


@pytest.fixture
def gateway(
    transactional_db: None, valkey: Any, upstreams: Any, stand_in: StandIn, settings: Any, tmp_path: Path
) -> Iterator[RunningGateway]:
    """A gateway whose external side is the stand-in itself; the guard watches, so that swapped copies go along."""
    private, external = upstreams
    private.behave()
    settings.REDIS_URL, settings.HOME = valkey.url, tmp_path / "home"
    settings.SWITCHYARD = settings.SWITCHYARD | {"SNAPSHOT_POLL_S": 3600.0}
    organisation = factories.make_organisation(slug="acme")
    service = factories.make_lob(organisation, "customer-service", guard_mode="observe")
    _, key = factories.make_key(factories.make_application(service))
    common = {"api_key": "upstream-key"}
    factories.make_deployment(
        organisation, "private-a", "private", base_url=private.url, tasks=["classification"], **common
    )
    factories.make_deployment(organisation, "ext-text", base_url=stand_in.url, **common)
    factories.make_deployment(
        organisation,
        "ext-words",
        base_url=stand_in.url,
        model="lm-tiny",
        heads=False,
        tasks=["chat"],
        **common,
    )
    for name, task in WORKLOADS.items():
        factories.make_workload(service, name, task=task)
    factories.make_policy(organisation, POLICY)
    company = SimpleNamespace(organisation=organisation, service=service, keys={"customer-service": key})
    running = RunningGateway(company, private, external, valkey).start()  # type: ignore[arg-type]
    yield running
    running.stop()


def check(gateway: RunningGateway, deployment: str, **more: Any) -> BillCheck:
    at = now()
    return reconcile_usage(
        organisation_id=gateway.company.organisation.pk, deployment=deployment, start=at - timedelta(hours=1),
        end=at + timedelta(hours=1), settle=timedelta(0), **more,
    )  # fmt: skip


def classify(client: Any, workload: str, *texts: str) -> None:
    answer = client.post("/v1/classifications", json={"model": workload, "input": list(texts)})
    assert answer.status_code == 200, answer.text


def test_traffic_of_every_kind_and_evaluations_reconcile_to_zero(gateway: RunningGateway, stand_in: StandIn):
    with gateway.client() as client:
        for i in range(4):
            classify(client, "sorted", f"a good thing number {i}", "dull and long " * (i + 1))
        classify(
            client, "sorted", "the old man and his wife were good", "she is a muslim woman"
        )  # swapped copies go along
        classify(client, "compared", "a good shadow")
        classify(client, "cascaded", "not so sure")
        for stream in (False, True):
            body = {
                "model": "chatter",
                "messages": [{"role": "user", "content": "hi"}],
                "max_tokens": 5,
                "stream": stream,
                "n": 2,
            }
            assert client.post("/v1/chat/completions", json=body).status_code == 200
    time.sleep(0.3)  # the shadow's own event
    record_events(gateway.events(9))
    organisation = gateway.company.organisation
    source = Endpoint(
        organisation.deployments.get(name="ext-text"), organisation.workloads.get(name="sorted"), None
    )
    answers = source.ask(["good", "bad", "so so"])
    book_vendor_calls(make_job(lob=gateway.company.service), source.deployment, "sorted", answers.calls)
    for name, calls in (("ext-text", 10), ("ext-words", 10)):
        row = check(gateway, name)
        assert (row.gap_nusd, row.findings, row.rows) == (0, [], calls), name
        assert row.billed_nusd > 0


def test_a_stream_that_the_caller_left_is_estimated_until_the_bill_says(
    gateway: RunningGateway, stand_in: StandIn
):
    stand_in.lm.pause_s = 0.02
    body = {
        "model": "chatter",
        "messages": [{"role": "user", "content": "tell me more"}],
        "max_tokens": 60,
        "stream": True,
    }
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_raw())
    time.sleep(0.5)
    record_events(gateway.events(1))
    (cut,) = Attempt.objects.all()
    assert (cut.status, cut.usage_source) == ("cut", "estimated")
    first = check(gateway, "ext-words", correct="estimates")
    assert {f["cause"] for f in first.findings} <= {"estimated"} and first.left_nusd == 0
    again = check(gateway, "ext-words", correct="estimates")
    assert (again.gap_nusd, again.findings) == (0, []) and verify_books(gateway.company.organisation.pk) == []


def test_each_days_bill_is_fetched_by_the_schedule_and_a_vendor_without_one_is_passed_over(
    gateway: RunningGateway,
):
    factories.make_deployment(gateway.company.organisation, "ext-other", base_url=gateway.private.url)
    with pytest.raises(NoBill):
        fetch_bill(
            base_url=gateway.private.url, api_key="upstream-key", start=now(), end=now() + timedelta(days=1)
        )
    assert reconcile_bills() == 1, "two deployments at one address have one bill"
    assert set(BillCheck.objects.values_list("name", "left_nusd")) == {("ext-text", 0)}


def test_a_wrong_key_and_a_wrong_time_are_told_apart_from_no_bill(stand_in: StandIn):
    span = {"start": now(), "end": now() + timedelta(days=1)}
    with pytest.raises(UpstreamFailure, match="answered 401"):
        fetch_bill(base_url=stand_in.url, api_key="wrong", **span)
    with pytest.raises(InvalidRequest):
        fetch_bill(base_url="http://user:pass@127.0.0.1/v1", api_key="x", **span)


# ------------------------------------------------------------------------------------------------- the bill itself
def bill_in(folder: Path) -> Bill:
    (folder / "prices.json").write_text(
        '{"m": {"input_usd_per_mtok": "0.05", "output_usd_per_mtok": "0.40"}}'
    )
    return Bill(folder / "bill.db", folder / "prices.json")


def test_a_killed_stand_in_still_bills_what_it_answered_and_nothing_twice(tmp_path: Path):
    first = bill_in(tmp_path)
    for i in range(3):
        first.charge(request_id=f"r{i}", model="m", tokens_in=1, tokens_out=1)
    second = bill_in(tmp_path)  # the first was killed: nothing of it was flushed
    second.charge(request_id="r3", model="m", tokens_in=1, tokens_out=1)
    journal = (tmp_path / "bill.journal").read_bytes()
    assert [row["request_id"] for row in second.between("", "")["rows"]] == ["r0", "r1", "r2", "r3"]
    second.close()
    (tmp_path / "bill.journal").write_bytes(journal + b'[5, "cut o')  # killed between commit and truncation
    third = bill_in(tmp_path)
    assert len(third.between("", "")["rows"]) == 4
    third.close()


def test_the_bill_is_asked_in_any_zone_and_its_ends_are_exact(tmp_path: Path):
    bill = bill_in(tmp_path)
    bill.charge(request_id="r", model="m", tokens_in=1, tokens_out=1)
    at = bill.between("", "")["rows"][0]["at"]
    moment = datetime.fromisoformat(at)
    late = (moment + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    assert len(bill.between(at.replace("+", " "), late)["rows"]) == 1, (
        "from is inclusive, a plus sign may arrive as a blank"
    )
    assert bill.between("", at)["rows"] == [], "to is exclusive"
    far = moment.astimezone(ZoneInfo("Asia/Tokyo")).isoformat()
    assert len(bill.between(far, "")["rows"]) == 1
    with pytest.raises(ValueError):
        bill.between("yesterday", "")
    bill.close()


def test_a_call_that_nobody_waited_for_is_booked_by_estimate():
    """The executor is cancelled in the middle of a call, as when a shadow is stopped: the vendor bills it all the same."""
    recorded = []
    request = SimpleNamespace(
        task="chat", raw=b"x" * 80, body={}, request_id="r", workload=None, wish="", key=None, version=None, batch=None,
    )  # fmt: skip
    run = SimpleNamespace(
        request=request, sent_to=lambda target: request, deadline=None,
        attempted=lambda target, **told: recorded.append(told),
    )  # fmt: skip

    class Never:
        async def whole(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(60)

    async def cancelled() -> None:
        target = SimpleNamespace(name="ext", side="external", model="m", tasks=["chat"], max_output_tokens=9, upstream_models={},
                                 heads=False, cap_name="")  # fmt: skip
        executor = Executor(Never(), SimpleNamespace(in_flight={"ext": 0}), None)  # type: ignore[arg-type]
        task = asyncio.create_task(executor._attempt(run, target))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    (told,) = recorded
    assert (told["status"], told["usage"].source, told["usage"].tokens_in) == ("cut", "estimated", 20)
