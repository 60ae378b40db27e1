"""The history through the real pipeline: metered, judged, in the past, resumable, and gone by one command."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace

import orjson
import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db.models import Sum

from costs.budgets import spent_in_ledger
from costs.models import Attempt, Budget, BusinessEvent, LedgerEntry, SpendDay, SpendHour
from costs.periods import EPOCH
from costs.selectors import limits_of
from routing.execution.base import Reply
from routing.models import DecisionRecord, Feedback
from switchyard.core.clock import now
from switchyard.core.ids import id_time_ms
from switchyard.core.money import usd_to_nusd
from switchyard.demo import company, history
from switchyard.demo import replay as replaying
from switchyard.demo.questions import steady_id
from switchyard.demo.replay import Replayer, replay
from switchyard.demo.traffic import arrivals
from switchyard.jobs.models import Job

SMALL = {
    "support-intent": 40, "contract-clauses": 12, "clinical-notes": 6, "remaining-life": 8, "price-advice": 10,
    "code-assist": 3,
}  # fmt: skip
ACCELERATOR_NS = 1_000_003  # per call: does not divide evenly
LABEL = "activate_my_card"


class Servers:
    """Both sides: every text gets one label, every record a value, every chat a line; calls are kept."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict]] = []

    async def whole(self, target, path, body, *, request_id, deadline) -> Reply:
        await asyncio.sleep(0)
        self.calls.append((target.name, body))
        usage = {"accelerator_ns": ACCELERATOR_NS}
        if path == "/chat/completions":
            message = {"role": "assistant", "content": "def add(a, b): return a + b"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            reply = {"choices": choices, "usage": usage | {"prompt_tokens": 9, "completion_tokens": 7}}
        else:
            items = body.get("input") or body["records"]
            row = (
                {"label": LABEL, "scores": [{"label": LABEL, "score": 0.8}]} if "input" in body else {"prediction": 90.0}
            )  # fmt: skip
            data = [{"index": i} | row for i in range(len(items))]
            tokens = sum(math.ceil(len(orjson.dumps(x)) / 4) for x in items)
            reply = {"data": data, "usage": usage | {"input_tokens": tokens, "output_tokens": len(items)}}
        return Reply(200, {}, orjson.dumps(reply))


@pytest.fixture
def small(organisation, settings, monkeypatch):
    """A job of 79 requests, and a way to replay from a place on."""
    monkeypatch.setattr(history, "REQUESTS", SMALL)
    job = history.open_job(organisation)
    replayer = Replayer()
    servers = Servers()
    replayer.executor.upstream = servers
    traffic = {w: c for w, c in history.traffic_of().items() if w in SMALL}
    rows = replayer.ask_about(traffic)
    plan = arrivals(end_s=job.params["end_s"], client_of=traffic, rows_of=rows, requests=SMALL)
    replayer.keeper.load()

    def run(start: int, stop: int | None = None) -> None:
        def write(following: int, events: list) -> bool:
            history.keep(job, following, len(plan), events)
            return not history.asked_to_stop(job)

        async_to_sync(replay)(replayer, plan[:stop], start, write)

    return SimpleNamespace(job=job, plan=plan, run=run, servers=servers, replayer=replayer)


def test_every_answer_is_in_the_ledger_the_records_and_the_roll_ups_with_its_own_time(small):
    history.begin(small.job)
    small.run(0)
    history.finish(small.job, 1.0)
    total = sum(SMALL.values())
    assert DecisionRecord.objects.count() == Attempt.objects.count() == total
    assert set(Attempt.objects.values_list("origin", flat=True)) == {"demonstration"}
    assert set(DecisionRecord.objects.values_list("origin", flat=True)) == {"demonstration"}
    for record in DecisionRecord.objects.all():
        assert id_time_ms(record.id) == round(record.at.timestamp() * 1000)
        assert record.at.timestamp() < small.job.params["end_s"]
        assert record.overhead_ms <= record.latency_ms < 60_000
    assert Feedback.objects.count() == total - SMALL["code-assist"]
    assert sum(SpendHour.objects.values_list("answers", flat=True)) == total
    assert sum(SpendDay.objects.values_list("judged", flat=True)) == Feedback.objects.count()
    spent = sum(Attempt.objects.values_list("cost_nusd", flat=True))
    requests = LedgerEntry.objects.exclude(request_id="")
    assert sum(requests.values_list("amount_nusd", flat=True)) == spent > 0
    small.job.refresh_from_db()
    assert (small.job.state, small.job.progress, small.job.result["answers"]) == ("succeeded", 1.0, total)


def test_judged_answers_are_labels_that_count_against_no_budget_and_lead_to_business_events(small):
    history.begin(small.job)
    small.run(0)
    small.run(20)  # again, as after a crash
    history.finish(small.job, 1.0)
    history.finish(small.job, 1.0)
    labels = LedgerEntry.objects.filter(credit="payable:labels")
    assert labels.count() == Feedback.objects.filter(correct__isnull=False).count()
    assert set(labels.values_list("purpose", "origin")) == {("feedback", "demonstration")}
    prices = {plan.slug: usd_to_nusd(plan.label_usd) for plan in company.LOBS}
    assert all(amount == prices[lob] for lob, amount in labels.values_list("lob", "amount_nusd"))
    for budget in limits_of(Budget.objects.all()):
        assert spent_in_ledger(budget, EPOCH, None) == 0
    answers = SpendDay.objects.filter(workload="clinical-notes").aggregate(n=Sum("answers"))["n"]
    told = BusinessEvent.objects.filter(workload="clinical-notes").aggregate(n=Sum("count"))["n"]
    assert told == answers > 0


def test_nothing_is_booked_in_the_future(small, monkeypatch):
    """Who judges the last answers would do so after now: until then a month's statement would hold more than its spend."""
    monkeypatch.setattr(replaying, "FEEDBACK_DELAY_MS", (10**9, 2 * 10**9))
    history.begin(small.job)
    small.run(0)
    assert Feedback.objects.count() > 0 and not Feedback.objects.filter(at__gt=now()).exists()
    assert not LedgerEntry.objects.filter(at__gt=now()).exists()


def test_policies_decide_and_confidential_work_stays_at_home(small):
    small.run(0)
    sides = set(DecisionRecord.objects.values_list("workload", "side"))
    assert {
        ("support-intent", "external"),
        ("contract-clauses", "private"),
        ("clinical-notes", "private"),
    } <= sides
    assert ("contract-clauses", "external") not in sides and ("clinical-notes", "external") not in sides
    record = DecisionRecord.objects.filter(workload="support-intent").first()
    assert record.policy_version.startswith("org@1+customer-service@1") and record.detail["trace"]
    assert DecisionRecord.objects.filter(workload="clinical-notes").exclude(sealed_answers="").count() == 0


def test_shares_of_shared_calls_sum_to_what_the_servers_counted(small):
    small.run(0)
    heads = [body for name, body in small.servers.calls if "messages" not in body]
    assert len(heads) < sum(SMALL.values()) / 2
    for side in ("private-sparse", "ext-mini"):
        calls = [body for name, body in small.servers.calls if name == side]
        rows = Attempt.objects.filter(deployment=side)
        assert sum(rows.values_list("accelerator_ns", flat=True)) == ACCELERATOR_NS * len(calls)


def test_answers_are_judged_by_the_workloads_own_rule(small):
    small.run(0)
    truths = {
        steady_id("dec", a.at_ms, a.number): small.replayer.questions[a.workload][a.row].truth
        for a in small.plan
    }
    for row in Feedback.objects.filter(workload="support-intent"):
        assert row.correct == (truths[row.decision_id] == LABEL)
    for row in Feedback.objects.filter(workload="remaining-life"):
        assert row.correct == (abs(90 - min(125, truths[row.decision_id])) <= 20)


def test_a_replay_stopped_half_way_goes_on_and_a_repeated_chunk_counts_once(small):
    small.run(0, 40)
    small.job.refresh_from_db()
    assert small.job.result["next"] == 40 and 0 < small.job.progress < 1
    small.run(20)  # twenty of them a second time, as after a crash between two writes
    total = sum(SMALL.values())
    assert DecisionRecord.objects.count() == Attempt.objects.count() == total
    assert Feedback.objects.count() == total - SMALL["code-assist"]


def test_a_finished_history_is_not_replayed_again(small, capsys, monkeypatch):
    Job.objects.filter(pk=small.job.pk).update(state="succeeded")
    monkeypatch.setattr("switchyard.demo.measure.measure_evaluations", lambda: 0)
    call_command("replay_history", "--foreground")
    assert "already there" in capsys.readouterr().out
    assert not DecisionRecord.objects.exists()


def test_somebody_can_cancel_it_and_it_stays_cancelled(small, monkeypatch, capsys):
    monkeypatch.setattr("switchyard.demo.replay.CHUNK", 20)
    Job.objects.filter(pk=small.job.pk).update(cancel_requested=True)
    small.run(0)
    assert DecisionRecord.objects.count() == 20
    history.halt(small.job, "cancelled")
    monkeypatch.setattr("switchyard.demo.measure.measure_evaluations", lambda: 0)
    call_command("replay_history", "--foreground")
    assert "is cancelled" in capsys.readouterr().out


def test_clearing_removes_the_demonstration_and_nothing_else(small):
    small.run(0)
    history.finish(small.job, 1.0)
    live = DecisionRecord.objects.first()
    live.pk, live.request_id, live.origin = "dec_live", "req_live", "live"
    live.save(force_insert=True)
    attempt = Attempt.objects.first()
    attempt.pk, attempt.request_id, attempt.origin = None, "req_live", "live"
    attempt.save(force_insert=True)
    call_command("demo_clear")
    assert list(DecisionRecord.objects.values_list("pk", flat=True)) == ["dec_live"]
    assert list(Attempt.objects.values_list("request_id", flat=True)) == ["req_live"]
    for table in (Feedback, SpendHour, SpendDay):
        assert not table.objects.filter(origin="demonstration").exists()
    assert not LedgerEntry.objects.filter(origin="demonstration").exists()
    assert not BusinessEvent.objects.exists()
    small.job.refresh_from_db()
    assert small.job.state == "succeeded"  # so that the next start doesn't bring it back


def test_ids_are_steady_and_sort_by_time():
    assert steady_id("dec", 1_795_000_000_000, 7) == steady_id("dec", 1_795_000_000_000, 7)
    assert steady_id("dec", 1_795_000_000_000, 7) < steady_id("dec", 1_795_000_000_001, 1)
    assert id_time_ms(steady_id("dec", 1_795_000_000_000, 7)) == 1_795_000_000_000
