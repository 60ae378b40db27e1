import pytest

from costs.models import Attempt, LedgerEntry
from modelhub.models import Evaluation
from modelhub.services.jobs import start_evaluation
from modelhub.tasks import run_job
from switchyard.jobs.models import Job
from switchyard.jobs.services import cancel


def evaluated(**kwargs):
    job = start_evaluation(user=None, **kwargs)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    return job, Evaluation.objects.get(job_id=job.pk)


def test_a_private_deployment_is_judged_over_its_endpoint_and_its_lob_pays(company):
    job, row = evaluated(workload=company.sentiment, deployment=company.private, limit=200)
    assert (row.metric, row.n, row.split) == ("accuracy", 200, "validation")
    assert row.value == pytest.approx(row.correct / row.n, abs=1e-4)
    assert row.low < row.value < row.high
    assert row.value > 0.8  # the shipped model, on the rows its card tells of
    assert row.detail["macro_f1"]["low"] <= row.detail["macro_f1"]["value"] <= row.detail["macro_f1"]["high"]
    assert row.detail["beside"]["name"].startswith("TF-IDF")
    assert 0 < row.p50_ms < 5000
    assert row.device == job.device == "private-sparse: CPUExecutionProvider"
    entry = LedgerEntry.objects.get(job_id=job.pk)
    assert (entry.lob, entry.amount_nusd) == ("customer-service", job.cost_nusd)
    assert job.cost_nusd > 0
    assert job.estimated_nusd > 0
    assert job.charged_ns == job.accelerator_ns > 0


def test_a_message_too_many_charges_nothing_more(company):
    job, _ = evaluated(workload=company.sentiment, deployment=company.private, limit=32)
    run_job(job.pk)
    assert LedgerEntry.objects.filter(job_id=job.pk).count() == 1
    assert Evaluation.objects.count() == 1


def test_a_vendor_is_paid_by_request_id_at_its_sheet_and_its_bill_agrees(company, served):
    job, row = evaluated(workload=company.sentiment, deployment=company.external, limit=64)
    assert row.n == 64
    attempts = Attempt.objects.filter(deployment="ext-mini")
    assert attempts.count() == 2 + 40  # two batches, forty timed rows
    assert {a.origin for a in attempts} == {"job"}
    assert not attempts.filter(answered=True).exists()
    assert sum(a.cost_nusd for a in attempts) == Job.objects.get(pk=job.pk).cost_nusd > 0
    billed = {line["request_id"]: line for line in served.bill.between("", "")["rows"]}
    for attempt in attempts:
        line = billed[attempt.request_id]
        assert (attempt.tokens_in, attempt.tokens_out) == (line["tokens_in"], line["tokens_out"])


def test_alarms_show_what_saying_no_would_reach(company):
    _, row = evaluated(workload=company.alarms, deployment=company.tabular)
    assert row.metric == "pr_auc"
    assert row.detail["always_no"]["value"] > 0.9
    assert row.detail["always_no"]["recall"] == 0.0
    assert row.detail["recall_at_precision_60"]["value"] > row.detail["always_no"]["recall"]
    assert row.verdict == "pass"


def test_few_rows_are_not_enough_data(company):
    _, row = evaluated(workload=company.sentiment, deployment=company.private, limit=40)
    assert row.verdict == "not_enough_data"


def test_a_server_that_is_away_fails_the_job_in_plain_words(company):
    company.private.base_url = "http://127.0.0.1:9/v1"
    company.private.save()
    job = start_evaluation(workload=company.sentiment, deployment=company.private, user=None)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "failed"
    assert job.error == "private-sparse can't be reached (ConnectionRefusedError)."
    assert not Evaluation.objects.exists()


def test_an_answer_that_is_of_no_use_is_paid_for_all_the_same(company, served, monkeypatch):
    from modelhub.recipes import endpoints

    request = endpoints.Endpoint._request
    monkeypatch.setattr(
        endpoints.Endpoint,
        "_request",
        lambda self, *words: request(self, *words) | {"data": [{"label": "one"}]},
    )
    job = start_evaluation(workload=company.sentiment, deployment=company.external, user=None, limit=64)
    run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == ("failed", "ext-mini gave 1 answers to 32 inputs.")
    attempt = Attempt.objects.get(deployment="ext-mini")
    assert attempt.cost_nusd == job.cost_nusd > 0
    assert attempt.request_id in {line["request_id"] for line in served.bill.between("", "")["rows"]}


def test_a_wrong_key_fails_the_job_and_does_not_show_the_key(company):
    company.private.api_key = "not-the-key"
    company.private.save()
    job = start_evaluation(workload=company.sentiment, deployment=company.private, user=None)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "failed"
    assert "401" in job.error
    assert "not-the-key" not in job.error


def test_a_job_cancelled_in_work_stops_and_pays_for_what_it_did(company, monkeypatch):
    from modelhub.recipes import endpoints
    from switchyard.jobs import runner

    monkeypatch.setattr(runner, "LOOK_EVERY_S", 0.0)
    job = start_evaluation(workload=company.sentiment, deployment=company.private, user=None)
    ask = endpoints.Endpoint.ask

    def ask_then_cancel(self, inputs):
        answers = ask(self, inputs)
        if not Job.objects.get(pk=job.pk).cancel_requested:
            cancel(job=job, user=None)
        return answers

    monkeypatch.setattr(endpoints.Endpoint, "ask", ask_then_cancel)
    run_job(job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert not Evaluation.objects.exists()
    assert LedgerEntry.objects.get(job_id=job.pk).amount_nusd == job.cost_nusd > 0
