"""Savings, forecasts and anomalies over REST: dollars as decimals, and nothing of a neighbour."""

from __future__ import annotations

from datetime import timedelta

import pytest

from costs.models import Anomaly, Forecast, SpendHour
from costs.rollups import refresh_days
from switchyard.core.clock import now
from tests.switchyard.api.company import Company


@pytest.fixture
def told(company: Company) -> Company:
    day = now().date()
    for lob in ("customer-service", "legal"):
        SpendHour.objects.create(
            organisation_id=company.organisation.pk, start=now() - timedelta(hours=2), lob=lob, workload=f"{lob}-work",
            deployment="d", model="m", side="external", requests=2, answers=2, cost_nusd=1_500_000_000,
            answered_cost_nusd=1_500_000_000, saved_cache_nusd=500_000_000, input_nusd=1_500_000_000, tokens_in=7,
        )  # fmt: skip
        refresh_days(now() - timedelta(hours=2), now())
        Forecast.objects.create(
            organisation_id=company.organisation.pk, lob=lob, month=day.replace(day=1), spent_nusd=1, estimate_nusd=2_500_000_000,
            low_nusd=2_000_000_000, high_nusd=3_000_000_000, method="long mean", mape=0.04, coverage=0.9, backtests=12,
            points=[{"day": day.isoformat(), "actual": None, "nusd": 1_000_000_000, "low": 1, "high": 2_000_000_000}],
        )  # fmt: skip
        Anomaly.objects.create(
            organisation_id=company.organisation.pk, lob=lob, workload=f"{lob}-work", day=day, spent_nusd=3_000_000_000,
            expected_nusd=1_000_000_000, low_nusd=1, high_nusd=2, score=9, cause="requests ×3",
            parts={"requests": 2_000_000_000, "price": 0, "tokens": 0, "mix": 0},
        )  # fmt: skip
    return company


def test_savings_are_dollars_that_add_up(told: Company) -> None:
    body = told.alice.get("reports/savings")
    assert [row["key"] for row in body["rows"]] == ["customer-service-work", "legal-work"]
    assert (body["totals"]["list_usd"], body["totals"]["cache_usd"], body["totals"]["actual_usd"]) == (
        "4.00",
        "1.00",
        "3.00",
    )


def test_forecasts_come_with_interval_error_and_points(told: Company) -> None:
    rows = {row["key"]: row for row in told.alice.get("reports/forecast")["rows"]}
    legal = rows["legal"]
    assert (legal["estimate_usd"], legal["low_usd"], legal["high_usd"]) == ("2.50", "2.00", "3.00")
    assert (legal["mape"], legal["coverage"], legal["backtests"]) == (0.04, 0.9, 12)
    assert legal["points"][0]["usd"] == "1.00" and legal["points"][0]["high_usd"] == "2.00"


def test_anomalies_come_with_their_cause_and_parts(told: Company) -> None:
    body = told.alice.get("reports/anomalies")
    row = next(row for row in body["rows"] if row["lob"] == "legal")
    assert (row["spent_usd"], row["cause"], row["parts_usd"]["requests"]) == ("3.00", "requests ×3", "2.00")
    assert body["totals"] == {"count": 2, "beyond_usd": "4.00"}


@pytest.mark.parametrize("name", ["savings", "forecast", "anomalies", "counterfactual", "spend"])
def test_a_neighbour_sees_nothing_of_it(told: Company, name: str) -> None:
    shown = str(told.bob.get(f"reports/{name}"))
    assert "customer-service" in shown and "legal" not in shown
    told.bob.get(f"reports/{name}", lob="legal", expect=404)
    told.charlie.get(f"reports/{name}", expect=403)


def test_spend_is_narrowed_and_split_by_its_own_parameters(told: Company) -> None:
    body = told.alice.get("reports/spend", group="token_class", workload="legal-work")
    assert [(row["key"], row["cost_usd"], row["units"]) for row in body["rows"]] == [("input", "1.50", 7)]
    assert body["totals"]["prev_cost_usd"] == "0.00" and body["totals"]["change"] is None
    told.alice.get("reports/spend", group="token_class,side,lob", expect=400)
    told.alice.get("reports/counterfactual", replay="perhaps", expect=400)
    assert told.alice.get("reports/counterfactual", replay="1")["totals"]["last_policy_unknown_rows"] == 2
