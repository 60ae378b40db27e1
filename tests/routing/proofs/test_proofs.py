"""The chain over decision records: what it proves, and that one record changed or removed is named."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from routing.models import DecisionRecord
from routing.proofs import services
from routing.proofs.checking import verify_chain, verify_records
from routing.proofs.models import DecisionChain, DecisionSeal
from routing.services import records, told
from switchyard.core.clock import now
from switchyard.core.ids import new_id
from switchyard.tenancy.querysets import Scope
from tests import factories as make
from tests.costs.events import make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db


@pytest.fixture
def company():
    organisation = make.make_organisation()
    for slug in ("customer-service", "legal"):
        make.make_lob(organisation, slug)
    return organisation


def everybody(organisation, *lobs):
    return Scope(
        organisation.pk, frozenset([1]) if lobs else None, frozenset(lobs) or None, frozenset({"risk"})
    )


def event(organisation, *attempts, sensitivity="restricted", lob="customer-service", ago_s=3600, **changes):
    request_id = new_id("req")
    at = (now() - timedelta(seconds=ago_s)).replace(microsecond=0)
    told = make_event(
        *(attempts or (private_attempt(),)), at=at, organisation_id=organisation.pk, request_id=request_id, lob=lob,
        decision_id=f"dec_{request_id[4:]}",
    )  # fmt: skip
    return told | {
        "endpoint": "classifications", "sensitivity": sensitivity, "policy_version": "org@1", "policy_hash": "f" * 16,
        "error_code": "", "latency_ms": 5.25, "overhead_ms": 0.5, "sealed_answers": "", "guard": {"verdict": "pass"},
        "shadow": None,
    } | changes  # fmt: skip


def write(*batches):
    for batch in batches:
        with transaction.atomic():
            records.record_events(list(batch))


def proof(organisation, *lobs, at_least="restricted", hours=2, until_s=600, lob=""):
    end = now() - timedelta(seconds=until_s)
    told = services.residency_proof(
        scope=everybody(organisation, *lobs),
        at_least=at_least,
        start=end - timedelta(hours=hours),
        end=end,
        lob=lob,
    )
    return told["body"]


def test_a_period_in_which_nothing_restricted_left_is_proven(company):
    write(
        [event(company), event(company, make_attempt(), sensitivity="internal")],
        [event(company, private_attempt(), private_attempt(deployment="other"))],
    )
    body = proof(company)
    assert body["holds"] is True
    assert body["counts"]["requests"] == 2
    assert body["counts"]["by_side"] == {"private": 3}
    assert {(h["hop"], h["attempts"]) for h in body["counts"]["by_hop"]} == {("first", 2), ("fallback", 1)}
    assert body["covered"]["unsealed_records"] == 0
    assert (body["chain"]["whole"], body["records"]["checked"]) == (True, 3)


def test_a_shadow_that_went_out_contradicts_it_and_is_named(company):
    out = event(company, make_attempt(), shadow={"of": "dec_1", "agrees": None})
    write([event(company), out])
    body = proof(company)
    assert body["holds"] is False
    assert [(c["id"], c["attempts"][0]["hop"]) for c in body["contradictions"]] == [
        (out["decision_id"], "shadow")
    ]


def test_a_stricter_class_counts_with_the_one_asked_for(company):
    write([event(company, make_attempt(), sensitivity="restricted")])
    assert proof(company, at_least="confidential")["holds"] is False


def test_a_record_changed_afterwards_is_named(company):
    one = event(company, make_attempt(), sensitivity="restricted")
    write([event(company), one], [event(company)])
    DecisionRecord.objects.filter(pk=one["decision_id"]).update(sensitivity="internal")
    body = proof(company)
    assert body["holds"] is False
    assert [p["id"] for p in body["records"]["problems"]] == [one["decision_id"]]


def test_a_record_removed_afterwards_is_named(company):
    one = event(company)
    write([event(company), one], [event(company)])
    DecisionRecord.objects.filter(pk=one["decision_id"]).delete()
    body = proof(company)
    assert body["holds"] is False
    assert body["covered"]["missing_records"] == 1
    assert [p["id"] for p in body["records"]["problems"]] == [one["decision_id"]]


@pytest.mark.parametrize("damage", ["counts", "gap", "end"])
def test_a_seal_changed_or_removed_is_named(company, damage):
    write([event(company)], [event(company)], [event(company)])
    seals = DecisionSeal.objects.filter(organisation_id=company.pk)
    if damage == "counts":
        seals.filter(sequence=2).update(counts={"requests": [], "attempts": []})
    else:
        seals.filter(sequence=2 if damage == "gap" else 3).delete()
    found = verify_chain(company.pk)
    assert not found.whole
    assert found.problems[0]["id"] == {"counts": "#2", "gap": "#2", "end": "#3"}[damage]
    assert proof(company)["holds"] is False


def test_a_batch_that_comes_twice_is_sealed_once(company):
    batch = [event(company), event(company)]
    write(batch, [*batch, event(company)], batch)
    assert list(DecisionSeal.objects.values_list("sequence", "n")) == [(1, 2), (2, 1)]
    found = verify_chain(company.pk)
    verify_records(DecisionSeal.objects.all(), found)
    assert (found.whole, found.records) == (True, 3)


def test_organisations_have_chains_of_their_own(company):
    other = make.make_organisation(slug="other", name="Other")
    make.make_lob(other, "sales")
    write([event(company), event(other, lob="sales"), event(company)])
    assert sorted(DecisionChain.objects.values_list("organisation_id", "sequence")) == sorted(
        [(company.pk, 1), (other.pk, 1)]
    )
    assert proof(company)["counts"]["requests"] == 2


def test_a_line_of_business_sees_its_own_requests_only(company):
    write([event(company, make_attempt(), lob="legal"), event(company)])
    assert proof(company, "customer-service")["contradictions"] == []
    assert proof(company, "customer-service")["counts"]["requests"] == 1
    assert proof(company, "legal")["holds"] is False
    assert proof(company, "customer-service", lob="legal")["counts"]["requests"] == 0


def test_records_that_no_seal_holds_leave_the_question_open(company):
    write([event(company)])
    DecisionSeal.objects.all().delete()
    DecisionChain.objects.all().delete()
    write([event(company)])
    body = proof(company)
    assert (body["holds"], body["covered"]["unsealed_records"]) == (None, 1)


def test_a_period_that_is_not_over_is_open(company):
    write([event(company)])
    assert proof(company, until_s=-60)["holds"] is None


def test_a_seal_that_reaches_over_an_edge_counts_by_its_records(company):
    write([event(company, ago_s=900), event(company, ago_s=7 * 3600, sensitivity="restricted")])
    body = proof(company)
    assert (body["counts"]["requests"], body["covered"]["sealed_records"]) == (1, 1)


def test_the_signature_holds_and_breaks_with_any_change(company, tmp_path):
    write([event(company)])
    end = now() - timedelta(seconds=600)
    told = services.residency_proof(
        scope=everybody(company), at_least="restricted", start=end - timedelta(hours=2), end=end
    )
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(told))
    out = StringIO()
    call_command("policy_verify_proof", str(path), stdout=out)
    assert "this holds (1 requests)" in out.getvalue()
    told["body"]["counts"]["requests"] = 2
    path.write_text(json.dumps(told))
    with pytest.raises(CommandError, match="changed after it was signed"):
        call_command("policy_verify_proof", str(path))


def test_a_proof_of_a_chain_that_was_rewritten_is_refused(company, tmp_path):
    write([event(company)])
    end = now() - timedelta(seconds=600)
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(services.residency_proof(
        scope=everybody(company), at_least="restricted", start=end - timedelta(hours=2), end=end
    )))  # fmt: skip
    DecisionSeal.objects.all().delete()
    with pytest.raises(CommandError, match="no longer the one proven"):
        call_command("policy_verify_proof", str(path))


def test_the_command_reads_everything_and_fails_on_a_change(company):
    one = event(company)
    write([one, event(company)])
    out, err = StringIO(), StringIO()
    call_command("verify_decisions", company.slug, stdout=out)
    assert "1 seals, 2 records read" in out.getvalue()
    row = DecisionRecord.objects.get(pk=one["decision_id"])
    row.detail["attempts"][0]["side"] = "external"
    row.save()
    with pytest.raises(CommandError, match="1 problems"):
        call_command("verify_decisions", stdout=out, stderr=err)
    assert one["decision_id"] in err.getvalue()


def test_the_straight_way_into_the_tables_seals_the_same(company):
    plain = {"tier": "edge", "task": "classification", "purpose": "answer", "stream": False}
    told_events = [
        event(company, private_attempt(legs={"input": 900}), **plain),
        event(company, make_attempt(legs={"input": 1_400}), shadow={"of": "dec_1", "agrees": True}, **plain),
    ]
    straight = [told.read_told(json.dumps(e).encode()) for e in told_events]
    assert None not in straight
    with transaction.atomic():
        told.write_decisions(straight)
    found = verify_chain(company.pk)
    verify_records(DecisionSeal.objects.all(), found)
    assert (found.problems, found.records) == ([], 2)
    body = proof(company)
    assert {(h["hop"], h["side"]) for h in body["counts"]["by_hop"]} == {
        ("first", "private"),
        ("shadow", "external"),
    }


def of_hop(body, hop):
    return next(row for row in body["hops"] if row["hop"] == hop)


def test_each_hop_has_a_verdict_of_its_own(company):
    write([event(company, private_attempt(), private_attempt()), event(company, make_attempt(), lob="legal")])
    body = proof(company)
    assert {row["hop"]: row["holds"] for row in body["hops"]} == {
        "first": False, "fallback": True, "retry": True, "shadow": True, "judge": True, "cache": True, "log": True,
        "training": True,
    }  # fmt: skip
    assert of_hop(body, "retry")["attempts"] == 1 and of_hop(body, "first")["outside"] == 1
    assert of_hop(proof(company, lob="customer-service"), "first")["holds"] is True
    DecisionRecord.objects.bulk_create([DecisionRecord(**{
        f.attname: getattr(DecisionRecord.objects.first(), f.attname) for f in DecisionRecord._meta.concrete_fields
    } | {"id": new_id("dec"), "request_id": new_id("req")})])  # fmt: skip
    assert (
        of_hop(proof(company, lob="customer-service"), "retry")["holds"] is None
    )  # one record is in no seal


def test_rows_that_a_vendor_trained_on_refute_that_hop_only(company):
    from modelhub.models import Dataset
    from switchyard.jobs.models import Job

    write([event(company)])
    lob = company.lobs.get(slug="legal")
    workload = make.make_workload(lob, "clauses")
    rows = Dataset.objects.create(
        id="ds_1", organisation=company, lob=lob, workload=workload, name="r", digest="d", rows=20,
        report={"sensitivity": "restricted"},
    )  # fmt: skip
    Job.objects.create(
        id="job_1", organisation=company, lob=lob, kind="fine_tune", started_at=now() - timedelta(hours=1),
        params={"side": "external", "dataset": rows.pk, "deployment": "vendor"},
    )  # fmt: skip
    body = proof(company)
    assert (body["holds"], of_hop(body, "training")["holds"]) == (True, False)
    assert [job["id"] for job in of_hop(body, "training")["jobs"]] == ["job_1"]
    assert of_hop(proof(company, lob="customer-service"), "training")["holds"] is True
    assert of_hop(proof(company, "customer-service"), "training")["holds"] is True  # a neighbour isn't told
    rows.delete()
    assert of_hop(proof(company), "training")["holds"] is None
