"""What a check of the books finds, and what odd events raise, is said in the language that jobs run in."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.utils import translation

from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import AccountHour, Alert
from tests import factories
from tests.costs.events import make_attempt, make_event

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation() -> Any:
    organisation = factories.make_organisation()
    factories.make_lob(organisation)
    record_events([make_event(organisation_id=organisation.pk, request_id="req_one")])
    AccountHour.objects.filter(account__startswith="payable:").update(credit_nusd=1)
    return organisation


def test_findings_are_said_in_english_and_in_chinese(organisation: Any) -> None:
    english = verify_books(organisation.pk)
    with translation.override("zh-hans"):
        chinese = verify_books(organisation.pk)
    assert english[0] == "The trial balance is 1399 nano-dollars, not zero."
    assert chinese[0] == "试算平衡差额为 1399 纳美元，而不是零。"
    assert len(english) == len(chinese) == 2 and "1399" in chinese[1]


def test_the_command_speaks_the_same_language(
    organisation: Any, capsys: pytest.CaptureFixture[str], settings: Any
) -> None:
    settings.LANGUAGE_CODE = "zh-hans"
    with pytest.raises(SystemExit), translation.override("zh-hans"):
        call_command("verify_books", "--no-counters")
    assert "试算平衡差额为" in capsys.readouterr().out


def test_an_event_that_came_again_with_another_content_is_told_in_chinese(organisation: Any) -> None:
    with translation.override("zh-hans"):
        again = make_attempt(cost_nusd=9_999)
        record_events([make_event(again, organisation_id=organisation.pk, request_id="req_one")])
    messages = list(Alert.objects.filter(kind="event_conflict").values_list("message", flat=True))
    assert messages and all("以已入账的为准" in message for message in messages)
