"""Live monitors: read once each, bet on, told of once; no group is guessed and a new version begins anew."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from costs.models import Alert
from routing.models import BiasMonitor, DecisionRecord, Feedback, Interception, ReviewedText
from routing.services import bias_watch
from routing.services.reviews import appeal, labelled_rows, review
from switchyard.core.clock import now
from tests.factories import make_lob, make_organisation

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation() -> Any:
    organisation = make_organisation()
    make_lob(organisation)
    return organisation


def decision(organisation: Any, number: int, guard: dict[str, Any], **values: Any) -> DecisionRecord:
    return DecisionRecord.objects.create(
        **{
            "id": f"dec_{number:06d}", "request_id": f"req_{number:06d}", "organisation_id": organisation.pk,
            "at": now() - timedelta(minutes=5), "lob": "customer-service", "workload": "support-intent",
            "endpoint": "classifications", "sensitivity": "internal", "deployment": "ext-mini", "model": "v1",
            "policy_version": "p", "policy_hash": "h", "answers": 1,
            "detail": {"guard": {"mode": "observe"} | guard, "task": "classification"},
        }
        | values
    )  # fmt: skip


def test_flips_over_the_limit_are_told_of_once_and_reading_twice_counts_once(organisation: Any) -> None:
    for i in range(60):
        decision(organisation, i, {"probed": {"gender": [4, 1]}})
    assert bias_watch.watch(organisation.pk) == 60
    row = BiasMonitor.objects.get(signal="flip", axis="gender")
    assert (row.n, row.rate) == (240, 0.25) and row.alarmed_at is not None and row.e_value > 20
    assert bias_watch.watch(organisation.pk) == 0
    row.refresh_from_db()
    assert row.n == 240
    for i in range(60, 70):
        decision(organisation, i, {"probed": {"gender": [4, 1]}})
    bias_watch.watch(organisation.pk)
    alerts = Alert.objects.filter(kind="bias", lob="customer-service")
    assert alerts.count() == 1 and "25.0%" in alerts[0].message and "gender" in alerts[0].subject


def test_a_quiet_stream_and_one_too_young_are_not_told_of(organisation: Any) -> None:
    for i in range(80):
        decision(organisation, i, {"probed": {"origin": [5, 0]}})
    decision(organisation, 99, {"probed": {"origin": [5, 5]}}, at=now())
    assert bias_watch.watch(organisation.pk) == 80
    assert not Alert.objects.filter(kind="bias").exists()


def test_a_new_version_begins_anew(organisation: Any) -> None:
    for i in range(50):
        decision(organisation, i, {"probed": {"gender": [4, 2]}})
    bias_watch.watch(organisation.pk)
    for i in range(50, 60):
        decision(organisation, i, {"probed": {"gender": [4, 0]}}, model="v2")
    bias_watch.watch(organisation.pk)
    old, new = (BiasMonitor.objects.get(model=model) for model in ("v1", "v2"))
    assert old.alarmed_at is not None and new.alarmed_at is None and (new.n, new.rate) == (40, 0.0)


def test_withheld_answers_are_compared_with_those_that_name_nobody(organisation: Any) -> None:
    number = 0
    for _ in range(12):  # looks
        for i in range(10):
            found = {"kind": "harm", "verdict": "withhold"} if i < 4 else {}
            decision(organisation, number, {"named": ["religion"]} | found)
            decision(organisation, number + 1, {"named": []})
            number += 2
        bias_watch.watch(organisation.pk)
    row = BiasMonitor.objects.get(signal="withheld", axis="religion")
    assert row.rate == pytest.approx(0.4) and row.rate_rest == 0.0 and row.alarmed_at is not None
    assert not BiasMonitor.objects.filter(axis="").exists()


def test_wrong_answers_count_only_where_it_is_known_what_the_text_names(organisation: Any) -> None:
    for i in range(3):
        decision(organisation, i, {"probed": {"age": [1, 0]}})
    decision(organisation, 10, {"mode": "off"})
    decision(organisation, 11, {"probed": {"age": [2, 0]}}, answers=2)
    common = {
        "organisation_id": organisation.pk,
        "lob": "customer-service",
        "deployment": "ext-mini",
        "side": "external",
        "at": now(),
    }
    for i in (0, 1, 2, 10, 11):
        Feedback.objects.create(decision_id=f"dec_{i:06d}", correct=i != 0, **common)
    bias_watch.watch(organisation.pk)
    row = BiasMonitor.objects.get(signal="wrong", axis="age")
    assert (row.n, row.n_rest) == (3, 0) and row.rate == pytest.approx(1 / 3)


def interception(organisation: Any, text: str) -> Interception:
    return Interception.objects.create(
        decision_id="dec_x", organisation_id=organisation.pk, lob="customer-service", at=now(), kind="harm", score=0.9,
        threshold=0.8, mode="enforce", withheld=True, text=text,
    )  # fmt: skip


def test_an_overturned_block_becomes_a_sealed_labelled_row_and_the_last_word_counts(
    organisation: Any,
) -> None:
    row = interception(organisation, "Nobody should call immigrants vermin.")
    appeal(interception=row, user=None)
    review(interception=row, state="released", user=None)
    stored = ReviewedText.objects.get()
    assert "vermin" not in stored.sealed_text and not stored.harmful
    assert labelled_rows(organisation.pk, "customer-service") == [
        ("Nobody should call immigrants vermin.", "harm", False)
    ]
    review(interception=row, state="confirmed", user=None)
    assert [harmful for _, _, harmful in labelled_rows(organisation.pk, "customer-service")] == [True]
    assert labelled_rows(organisation.pk, "legal") == []


def test_without_kept_text_a_review_makes_no_row(organisation: Any) -> None:
    review(interception=interception(organisation, ""), state="released", user=None)
    assert not ReviewedText.objects.exists()
