"""A what-if from request to stored report, over real records in the database."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from modelhub.models import Evaluation
from routing.models import DecisionRecord, Feedback, WhatIf
from routing.policy.facts import whole
from routing.services.policies import create_draft
from routing.whatif.services import latest, pending, what_if
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from switchyard.jobs import runner
from tests import factories as make

pytestmark = pytest.mark.django_db
OUT = """\
rules:
  - name: out
    when: data.sensitivity <= internal
    route: {prefer: [ext-mini], fallback: [private-sparse]}
"""
HOME = "rules:\n  - name: home\n    when: true\n    route: {prefer: [private-sparse]}\n"
SHEET = {"input_nusd_per_munit": 1_000_000_000, "output_nusd_per_munit": 2_000_000_000}
OUT_NUSD = 100 * 1_000 + 10 * 2_000  # 100 tokens in, 10 out by the sheet


@pytest.fixture
def company() -> Any:
    organisation = make.make_organisation()
    lob = make.make_lob(organisation, "customer-service")
    make.make_workload(lob, "support-intent")
    make.make_deployment(organisation, "private-sparse", "private")
    out = make.make_deployment(organisation, "ext-mini", bare=True)
    make.make_price(organisation, out.name, **SHEET)
    make.make_policy(organisation)
    make.make_policy(organisation, HOME, lob)
    return organisation


def lob_of(company: Any, slug: str = "customer-service") -> Any:
    return company.lobs.get(slug=slug)


def recorded(company: Any, number: int, deployment: str = "private-sparse", **changes: Any) -> DecisionRecord:
    """One request of the last days: every second one at home, as it was answered there."""
    sensitivity = changes.pop("sensitivity", "internal")
    facts = whole(
        {"workload": {"name": "support-intent", "task": "classification", "tier": "edge", "sensitivity": "internal"},
         "lob": {"slug": "customer-service"}, "data": {"sensitivity": sensitivity}, "request": {"tokens_in": 90}}
    )  # fmt: skip
    side = "private" if deployment.startswith("private") else "external"
    cost = 5_000 if side == "private" else OUT_NUSD
    attempt = {"deployment": deployment, "status": "ok", "tokens_in": 100, "tokens_out": 10, "accelerator_ns": 1_000_000,
               "duration_ms": 20.0 if side == "private" else 80.0, "cost_nusd": cost}  # fmt: skip
    candidates = [
        {"deployment": d, "side": "", "eligible": True, "reasons": [], "cost_nusd": 9}
        for d in ("private-sparse", "ext-mini")
    ]
    values = {
        "id": f"dec_{number:06d}", "request_id": f"req_{number:06d}", "organisation_id": company.pk, "lob": "customer-service",
        "at": now() - timedelta(days=10) + timedelta(minutes=14 * number), "workload": "support-intent",
        "endpoint": "classifications", "sensitivity": sensitivity, "side": side, "deployment": deployment,
        "policy_version": "org@1+customer-service@1", "policy_hash": "", "answers": 1, "cost_nusd": cost,
        "latency_ms": attempt["duration_ms"],
        "detail": {"facts": facts, "candidates": candidates, "attempts": [attempt], "confidence": None, "shadow": None},
    }  # fmt: skip
    return DecisionRecord.objects.create(**values | changes)


def judged(row: DecisionRecord, correct: bool) -> None:
    Feedback.objects.create(
        decision_id=row.pk, organisation_id=row.organisation_id, lob=row.lob, workload=row.workload,
        deployment=row.deployment, side=row.side, at=row.at, correct=correct,
    )  # fmt: skip


def answered(what: WhatIf) -> dict[str, Any]:
    """The job as a worker runs it."""
    from routing.whatif import job as recipe

    job = runner.run(what.job_id, recipe.run)
    assert job is not None and job.state == "succeeded", job and job.error
    what.refresh_from_db()
    return what.report


def asked(company: Any, document: str = OUT, **options: Any) -> WhatIf:
    draft = create_draft(organisation=company, lob=lob_of(company), document=document, user=None)
    return what_if(policy=draft, days=14, **options)[0]


def test_requests_that_would_leave_cost_what_their_tokens_cost_there(company: Any) -> None:
    for number in range(600):
        recorded(company, number)
    report = answered(asked(company))
    totals = report["totals"]
    assert (report["requests"], report["changed"], report["distinct"]) == (600, 600, 1)
    assert Decimal(totals["cost"]["before_usd"]) == Decimal(600 * 5_000) / 10**9
    # ext-mini never answered: its tokens are taken to be its neighbour's, and the report says on what that rests.
    assert Decimal(totals["cost"]["after_usd"]) == Decimal(600 * OUT_NUSD) / 10**9
    assert {row["what"] for row in report["not_enough"]} == {"tokens", "accuracy"}
    assert totals["sides"] == {"before": {"private": 600, "external": 0, "refused": 0},
                               "after": {"private": 0, "external": 600, "refused": 0}}  # fmt: skip
    low, high = Decimal(totals["cost"]["low_usd"]), Decimal(totals["cost"]["high_usd"])
    assert low < Decimal(totals["cost"]["change_usd"]) < high
    assert report["crossings"] == {"requests": 0, "ids": [], "invariants": []}
    [mover] = report["movers"]
    assert (mover["from"], mover["to"], mover["rule"], mover["requests"]) == (
        "private-sparse",
        "ext-mini",
        "out",
        600,
    )
    assert set(mover["sample_ids"]) <= set(DecisionRecord.objects.values_list("pk", flat=True))


def test_accuracy_is_told_where_it_was_measured_and_not_otherwise(company: Any) -> None:
    for number in range(400):
        judged(recorded(company, number), number % 10 != 0)
    missing = answered(asked(company))["totals"]["accuracy"]
    assert (missing["verdict"], missing["before"], missing["after"]) == ("not_enough_data", None, None)
    workload, deployment = lob_of(company).workloads.get(), company.deployments.get(name="ext-mini")
    Evaluation.objects.create(workload=workload, deployment=deployment, metric="accuracy", n=500, correct=400)
    told = answered(asked(company, OUT + "\n"))["totals"]["accuracy"]
    assert told["verdict"] == "enough"
    assert told["before"] == pytest.approx(0.90, abs=0.005)
    assert told["after"] == pytest.approx(0.80, abs=0.005)
    assert told["low"] < -0.10 < told["high"]
    assert told["n"] == 500


def test_what_an_evaluation_took_stands_in_where_nothing_was_answered(company: Any) -> None:
    """Its answers are five times as long: 50 tokens out instead of 10."""
    workload, deployment = lob_of(company).workloads.get(), company.deployments.get(name="ext-mini")
    for name, tokens in (("ext-mini", 50), ("private-sparse", 10)):
        used = {"rows": 400, "size": 400 * 90, "tokens_in": 400 * 100, "tokens_out": 400 * tokens}
        Evaluation.objects.create(
            workload=workload, deployment=company.deployments.get(name=name), metric="accuracy", n=400, correct=380,
            detail={"usage": used},
        )  # fmt: skip
    assert deployment.name == "ext-mini"
    for number in range(300):
        recorded(company, number)
    report = answered(asked(company))
    expected = Decimal(300 * (100 * 1_000 + 50 * 2_000)) / 10**9
    assert Decimal(report["totals"]["cost"]["after_usd"]) == pytest.approx(expected, rel=Decimal("0.01"))
    assert report["not_enough"] == []


def test_confidential_requests_stay_and_are_counted(company: Any) -> None:
    for number in range(200):
        recorded(company, number, sensitivity="confidential" if number % 4 == 0 else "internal")
    report = answered(
        asked(company, OUT + "  - {name: rest, when: true, route: {prefer: [private-sparse]}}\n")
    )
    assert report["changed"] == 150
    assert report["leaves"]["confidential"] == {"before": 0, "after": 0}
    assert report["crossings"]["requests"] == 0


def test_an_organisation_that_drops_its_invariant_sees_every_request_that_would_cross(company: Any) -> None:
    company.policies.filter(lob__isnull=False).delete()
    for number in range(120):
        recorded(company, number, sensitivity="confidential" if number % 3 == 0 else "internal")
    loose = "rules:\n  - {name: out, when: true, route: {prefer: [ext-mini]}}\ndefault: deny\n"
    draft = create_draft(organisation=company, lob=None, document=loose, user=None)
    report = answered(what_if(policy=draft, days=14)[0])
    assert report["crossings"]["requests"] == 40
    assert report["crossings"]["invariants"] == ["restricted data stays home"]
    crossing = DecisionRecord.objects.filter(sensitivity="confidential").values_list("pk", flat=True)
    assert report["crossings"]["ids"] and set(report["crossings"]["ids"]) <= set(crossing)


def test_two_versions_are_compared_by_effect(company: Any) -> None:
    for number in range(100):
        recorded(company, number)
    first = create_draft(organisation=company, lob=lob_of(company), document=OUT, user=None)
    second = create_draft(organisation=company, lob=lob_of(company), document=HOME + "\n", user=None)
    report = answered(what_if(policy=second, days=14, against=first)[0])
    assert (report["against"]["id"], report["policy"]["id"]) == (first.pk, second.pk)
    assert report["totals"]["sides"]["before"]["external"] == 100
    assert Decimal(report["totals"]["cost"]["change_usd"]) < 0


def test_refused_limited_and_lost_requests_are_told_apart(company: Any) -> None:
    recorded(company, 1)
    recorded(company, 2, status=429, error_code="rate_limit_exceeded", deployment="", side="")
    refused = recorded(company, 3, status=403, error_code="policy_denied", side="")
    refused.deployment, refused.detail["attempts"] = "", []
    refused.save()
    compared = recorded(company, 4)
    compared.detail["shadow"] = {"of": "dec_1", "agrees": True}
    compared.save()
    cached = recorded(company, 5, cost_nusd=0)
    cached.detail["attempts"] = []
    cached.save()
    report = answered(asked(company))
    assert report["requests"] == 2
    assert report["left_out"] == {
        "rate_limit_exceeded": 1, "asked for comparison only": 1, "answered from the cache": 1,
    }  # fmt: skip
    assert report["totals"]["sides"]["after"] == {"private": 0, "external": 2, "refused": 0}


def test_an_empty_window_is_a_report_too(company: Any) -> None:
    report = answered(asked(company))
    assert (report["requests"], report["movers"], report["by_day"]) == (0, [], [])
    assert report["totals"]["accuracy"]["verdict"] == "not_enough_data"


def test_a_neighbours_records_are_not_read(company: Any) -> None:
    recorded(company, 1)
    recorded(company, 2, lob="legal")
    recorded(company, 3, organisation_id=company.pk + 1)
    assert answered(asked(company))["requests"] == 1


def test_asking_twice_gives_the_running_one_and_leaves_one_trace_each(company: Any) -> None:
    draft = create_draft(organisation=company, lob=lob_of(company), document=OUT, user=None)
    first, job = what_if(policy=draft, days=7)
    again, same = what_if(policy=draft, days=7)
    assert (again.pk, same.pk) == (first.pk, job.pk)
    assert pending(draft) == first and latest(draft) is None
    answered(first)
    assert latest(draft) == first and pending(draft) is None
    assert AuditEvent.objects.filter(action="policy.what_if", target=f"policy:{draft.pk}").count() == 1


@pytest.mark.parametrize("days", [0, 91])
def test_days_out_of_range_are_refused(company: Any, days: int) -> None:
    draft = create_draft(organisation=company, lob=lob_of(company), document=OUT, user=None)
    with pytest.raises(InvalidRequest, match="expected 1 to 90"):
        what_if(policy=draft, days=days)


def test_versions_of_two_documents_are_not_compared(company: Any) -> None:
    draft = create_draft(organisation=company, lob=lob_of(company), document=OUT, user=None)
    own = company.policies.get(lob__isnull=True)
    with pytest.raises(InvalidRequest, match="different documents"):
        what_if(policy=draft, days=7, against=own)
