"""Batches as people see them, on pages and by REST: progress, cost, refused lines, files, cancel; nothing of a neighbour's."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import pytest
from django.test import AsyncClient, Client

from modelhub import batch_work
from switchyard.audit.models import AuditEvent
from switchyard.gateway.batches import recipe
from switchyard.gateway.models import Batch
from switchyard.tenancy.models import User
from tests import factories
from tests.fakes.gateway import RunningGateway
from tests.switchyard.api.company import caller_of
from tests.switchyard.gateway.test_batches import chat, media, start, work  # noqa: F401 (`media` is a fixture)

pytestmark = pytest.mark.django_db(transaction=True)


def person(gateway: RunningGateway, name: str, role: str, *lobs: str) -> User:
    company = gateway.company
    both = {"customer-service": company.service, "legal": company.legal}
    return factories.make_user(name, company.organisation, role, tuple(both[slug] for slug in lobs))


def page_of(user: User, address: str) -> Any:
    client = Client()
    client.force_login(user)
    return client.get(address)


def post(user: User, address: str) -> Any:
    client = Client()
    client.force_login(user)
    return client.post(address, follow=True)


def body(answer: Any) -> str:
    return b"".join(answer.streaming_content).decode() if answer.streaming else answer.content.decode()


def a_finished_one(gateway: RunningGateway) -> str:
    """Two answers and one refusal of customer service's."""
    made = start(gateway.openai(), [chat("First?"), chat("Second?"), chat("x", model="nobody")])
    work()
    return made.id


def test_a_list_a_page_and_rest_say_the_same_of_a_batch(gateway: RunningGateway) -> None:
    batch_id = a_finished_one(gateway)
    cost = Batch.objects.get().cost_nusd
    olga = person(gateway, "olga", "operator", "customer-service")
    listed = body(page_of(olga, "/batches/"))
    assert f"/batches/{batch_id}/" in listed and "completed" in listed and "hx-get" not in listed
    one = body(page_of(olga, f"/batches/{batch_id}/"))
    assert "model_not_found" in one and "line-2" in one and f"{batch_id}/output.jsonl" in one
    told = caller_of(olga).get(f"batches/{batch_id}")
    assert (told["total"], told["completed"], told["failed"], told["progress"]) == (3, 2, 1, 1.0)
    assert told["status"] == "completed" and told["files"] == ["output", "error"] and told["ended_at"]
    assert round(float(told["cost_usd"]) * 1e9) == cost > 0
    assert [row["id"] for row in caller_of(olga).get("batches", lob="customer-service")["results"]] == [
        batch_id
    ]
    assert caller_of(olga).get("batches", status="failed")["results"] == []
    errors = caller_of(olga).get(f"batches/{batch_id}/line-errors")["results"]
    assert errors == [
        {"custom_id": "line-2", "status": 404, "code": "model_not_found", "message": errors[0]["message"]}
    ]


def test_its_files_are_given_to_roles_there_and_who_took_them_is_written_down(
    gateway: RunningGateway,
) -> None:
    batch_id = a_finished_one(gateway)
    olga = person(gateway, "olga", "operator", "customer-service")
    rows = [
        json.loads(line) for line in body(page_of(olga, f"/batches/{batch_id}/output.jsonl")).splitlines()
    ]
    assert sorted(row["custom_id"] for row in rows) == ["line-0", "line-1"]
    answer = caller_of(olga).client.get(f"/api/v1/batches/{batch_id}/results/?which=error")
    assert [json.loads(line)["custom_id"] for line in body(answer).splitlines()] == ["line-2"]
    caller_of(olga).get(f"batches/{batch_id}/results", expect=400, which="input")
    read = AuditEvent.objects.filter(action="batch.read")
    assert [(e.actor, e.lob, e.detail["which"]) for e in read.order_by("pk")] == [
        ("olga", "customer-service", "output"), ("olga", "customer-service", "error"),
    ]  # fmt: skip


def test_a_viewer_sees_how_far_it_is_and_nothing_of_what_its_lines_say(gateway: RunningGateway) -> None:
    batch_id = a_finished_one(gateway)
    vera = person(gateway, "vera", "viewer", "customer-service")
    one = body(page_of(vera, f"/batches/{batch_id}/"))
    assert "completed" in one and "line-2" not in one and "output.jsonl" not in one
    assert page_of(vera, f"/batches/{batch_id}/output.jsonl").status_code == 403
    for path in ("line-errors", "results"):
        caller_of(vera).get(f"batches/{batch_id}/{path}", expect=403)
    caller_of(vera).post(f"batches/{batch_id}/cancel", expect=403)


def test_a_neighbour_sees_nothing_of_it_anywhere(gateway: RunningGateway) -> None:
    batch_id = a_finished_one(gateway)
    lena = person(gateway, "lena", "admin", "legal")
    assert batch_id not in body(page_of(lena, "/batches/"))
    for address in (
        f"/batches/{batch_id}/",
        f"/batches/{batch_id}/output.jsonl",
        "/batches/?lob=customer-service",
    ):
        assert page_of(lena, address).status_code == 404, address
    assert post(lena, f"/batches/{batch_id}/cancel/").status_code == 404
    caller = caller_of(lena)
    assert caller.get("batches")["results"] == []
    for path in ("", "/line-errors", "/results"):
        caller.get(f"batches/{batch_id}{path}", expect=404)
    caller.post(f"batches/{batch_id}/cancel", expect=404)


def test_a_role_elsewhere_reads_no_lines_here(gateway: RunningGateway) -> None:
    """Operator of legal, viewer of customer service: the page is theirs, what the lines say isn't."""
    batch_id = a_finished_one(gateway)
    mixed = person(gateway, "mia", "operator", "legal")
    from switchyard.tenancy.models import Membership

    more = Membership.objects.create(user=mixed, organisation=gateway.company.organisation, role="viewer")
    more.lobs.set([gateway.company.service])
    one = body(page_of(mixed, f"/batches/{batch_id}/"))
    assert "completed" in one and "line-2" not in one
    assert page_of(mixed, f"/batches/{batch_id}/output.jsonl").status_code == 404
    caller_of(mixed).get(f"batches/{batch_id}/results", expect=404)


def test_one_that_waits_is_cancelled_from_the_page_and_the_log_says_by_whom(gateway: RunningGateway) -> None:
    made = start(gateway.openai(), [chat("First?")])
    olga = person(gateway, "olga", "operator", "customer-service")
    waiting = body(page_of(olga, f"/batches/{made.id}/"))
    assert "hx-get" in waiting and "/cancel/" in waiting
    assert post(olga, f"/batches/{made.id}/cancel/").status_code == 200
    assert Batch.objects.get().status == "cancelled" and gateway.external.seen == []
    assert AuditEvent.objects.get(action="job.cancel_requested").actor == "olga"
    assert "illegal_state" in str(caller_of(olga).post(f"batches/{made.id}/cancel", expect=409))


def test_refused_lines_are_told_while_it_still_runs(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = start(gateway.openai(), [chat("x", model="nobody"), *(chat(f"Question {i}?") for i in range(7))])
    scope = batch_work_scope(gateway)
    seen: list[Any] = []
    real = recipe._commit

    async def commit_and_look(batch: Any, *args: Any) -> None:
        await real(batch, *args)
        if not seen:
            from asgiref.sync import sync_to_async

            seen.append(await sync_to_async(batch_work.keeper().line_errors)(scope, made.id))
            seen.append(await sync_to_async(batch_work.keeper().one)(scope, made.id))

    monkeypatch.setattr(recipe, "_commit", commit_and_look)
    work()
    errors, row = seen
    assert [(e.custom_id, e.code) for e in errors] == [("line-0", "model_not_found")]
    assert row.status == "in_progress" and row.done == 0.5 and not row.files


def batch_work_scope(gateway: RunningGateway) -> Any:
    from switchyard.tenancy.querysets import scope_of

    return scope_of(person(gateway, "otto", "operator", "customer-service"))


def test_files_and_exports_leave_piece_by_piece_without_a_warning_under_either_server(
    gateway: RunningGateway,
) -> None:
    """Django warns, and reads an answer whole before its first byte, where its iterator is of the other kind."""
    batch_id = a_finished_one(gateway)
    olga = person(gateway, "olga", "admin")
    addresses = [f"/batches/{batch_id}/output.jsonl", "/statements/focus.csv"]

    async def asynchronously() -> list[bytes]:
        client, told = AsyncClient(), []
        await client.aforce_login(olga)
        for address in addresses:
            answer = await client.get(address)
            assert answer.is_async, address
            told.append(b"".join([piece async for piece in answer.streaming_content]))
        return told

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="StreamingHttpResponse must consume")
        plain = [body(page_of(olga, address)).encode() for address in addresses]
        assert asyncio.run(asynchronously()) == plain
    assert all(plain)
