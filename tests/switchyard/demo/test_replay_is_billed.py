"""The replayed history against the stand-in's own bill: many requests share a call, and still it agrees to zero."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async

from costs.books.verification import verify_books
from costs.models import Attempt, BillCheck, Price
from costs.reconciliation.service import reconcile_usage
from modelhub.models import Evaluation
from switchyard.core.clock import now
from switchyard.core.money import format_usd
from switchyard.demo import history
from switchyard.demo.measure import SAMPLES, measure_evaluations
from switchyard.demo.replay import Replayer, replay
from switchyard.demo.traffic import arrivals
from tests.fakes.stand_in import StandIn
from tests.fakes.upstream import FakeUpstream

SMALL = {"support-intent": 30, "support-sentiment": 12}


def check(organisation: Any, **more: Any) -> BillCheck:
    at = now()
    return reconcile_usage(
        organisation_id=organisation.pk, deployment="ext-mini", start=at - timedelta(hours=1), end=at + timedelta(hours=1),
        settle=timedelta(0), **more,
    )  # fmt: skip


def test_the_vendors_bill_of_a_replay_agrees_and_what_a_killed_replay_asked_is_booked_by_it(
    organisation: Any, monkeypatch: Any, tmp_path: Path
):
    monkeypatch.setattr(history, "REQUESTS", SMALL)
    sheet = Price.objects.get(deployment="ext-mini")
    prices = {
        "price_in": format_usd(sheet.input_nusd_per_munit),
        "price_out": format_usd(sheet.output_nusd_per_munit),
    }
    with StandIn(tmp_path, tuple(SMALL), **prices) as vendor, FakeUpstream() as own:
        for row in organisation.deployments.all():
            row.base_url, row.api_key = (vendor.url if row.side == "external" else own.url), "upstream-key"
            row.save()
        job, replayer = history.open_job(organisation), Replayer()
        traffic = {w: c for w, c in history.traffic_of().items() if w in SMALL}
        plan = arrivals(
            end_s=job.params["end_s"], client_of=traffic, rows_of=replayer.ask_about(traffic), requests=SMALL
        )
        history.begin(job)

        def write(following: int, events: list[Any]) -> bool:
            history.keep(job, following, len(plan), events)
            return True

        async def run() -> None:
            await replayer.open()
            await replay(replayer, plan, 0, write)
            await sync_to_async(agree)()
            await replayer.answer(
                plan[:20]
            )  # killed before the chunk was written: asked and billed, never booked
            await replayer.close()

        def agree() -> None:
            row = check(organisation)
            external = Attempt.objects.filter(side="external")
            assert (row.gap_nusd, row.findings) == (0, []) and 0 < row.rows < external.count()
            assert all(
                upstream.startswith("history-") for upstream in external.values_list("upstream_id", flat=True)
            )

        async_to_sync(run)()
        row = check(organisation, correct="all")
        assert {(f["cause"], f["lob"], f["state"]) for f in row.findings} == {
            ("missing", "customer-service", "corrected")
        }
        assert row.gap_nusd > 0 and row.left_nusd == 0
        assert check(organisation).gap_nusd == 0 and verify_books(organisation.pk) == []


def test_measuring_a_deployment_is_paid_for_by_whom_it_is_measured_for(organisation: Any, tmp_path: Path):
    Evaluation.objects.exclude(workload__name="support-sentiment").delete()
    sheet = Price.objects.get(deployment="ext-mini")
    prices = {
        "price_in": format_usd(sheet.input_nusd_per_munit),
        "price_out": format_usd(sheet.output_nusd_per_munit),
    }
    with StandIn(tmp_path, ("support-sentiment",), **prices) as vendor, FakeUpstream() as own:
        for row in organisation.deployments.all():
            row.base_url, row.api_key = (vendor.url if row.side == "external" else own.url), "upstream-key"
            row.save()
        waiting = Evaluation.objects.filter(p50_ms__isnull=True).count()
        assert measure_evaluations() == waiting > 0
        booked = Attempt.objects.filter(purpose="evaluation", lob="customer-service", side="external")
        assert booked.count() == SAMPLES and check(organisation).gap_nusd == 0
        assert measure_evaluations() == 0
