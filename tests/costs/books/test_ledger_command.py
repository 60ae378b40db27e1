"""The ledger on the command line: the rows that page and REST show, each once, however many there are."""

from __future__ import annotations

import csv
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from costs.management.commands import ledger as command
from costs.metering import record_events
from tests import factories as make
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
MONTH = ("--from", f"{NOON:%Y-%m}-01", "--to", f"{NOON + timedelta(days=1):%Y-%m-%d}")


def ledger(*words: str) -> list[dict[str, str]]:
    out = StringIO()
    call_command("ledger", *MONTH, *words, "--csv", stdout=out)
    return list(csv.DictReader(StringIO(out.getvalue())))


@pytest.fixture(autouse=True)
def booked():
    organisation = make.make_organisation()
    make.make_lob(organisation, "legal")
    record_events(
        [
            make_event(
                make_attempt(cost_nusd=100 + i), at=NOON - timedelta(minutes=i), organisation_id=organisation.pk, lob="legal"
            )
            for i in range(7)
        ]
        + [make_event(private_attempt(cost_nusd=9), organisation_id=organisation.pk, purpose="judge")]
        + [make_event(make_attempt(cost_nusd=5_000), organisation_id=organisation.pk + 1)]
    )  # fmt: skip
    return organisation


def test_every_transfer_is_printed_once_newest_first_whatever_is_read_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = ledger()
    assert sorted(row["amount_usd"] for row in whole) == sorted(
        ["0.000000009", *(f"0.0000001{i:02}".rstrip("0") for i in range(7))]
    )
    assert [row["at"] for row in whole] == sorted((row["at"] for row in whole), reverse=True)
    monkeypatch.setattr(command, "AT_ONCE", 3)
    assert ledger() == whole
    assert ledger("--limit", "5") == whole[:5]


def test_it_is_narrowed_as_the_page_is() -> None:
    assert {row["debit"] for row in ledger("--lob", "legal")} == {"expense:lob:legal"}
    assert [row["purpose"] for row in ledger("--purpose", "judge")] == ["judge"]
    assert len(ledger("--account", "payable:ext-mini")) == 7
    assert ledger("--account", "payable:nobody") == []


def test_what_cannot_be_is_refused_in_words() -> None:
    for words, said in (
        (("--lob", "lega"), "no line of business 'lega'"),
        (("--to", "2020-01-01"), "ends before it begins"),
        (("--from", "yesterday"), "yesterday"),
        (("--limit", "0"), "expected 1 or more"),
    ):
        with pytest.raises(CommandError, match=said):
            ledger(*words)
