"""The proof of residency on its page and on the command line: the sentence, what refutes it, the signed file, who sees what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from routing.models import DecisionRecord
from switchyard.core.clock import now
from tests import factories as make
from tests.costs.events import make_attempt
from tests.routing.proofs.test_proofs import event, write
from tests.switchyard.dashboards.company import Company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    organisation = make.make_organisation()
    lobs = {slug: make.make_lob(organisation, slug) for slug in ("customer-service", "legal")}
    return Company(organisation, lobs, {}, {}, {}, {}, {})


def hour_ago() -> str:
    """A period that ended before now and holds what `event` makes by default."""
    from datetime import timedelta

    start, end = now() - timedelta(hours=3), now() - timedelta(minutes=30)
    return f"class=restricted&from={start:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"


def test_the_sentence_that_is_signed(company: Company) -> None:
    write([event(company.organisation), event(company.organisation, make_attempt(), sensitivity="internal")])
    client = client_of("rita", company, "risk")
    text = client.get(f"/policies/proof/?{hour_ago()}").content.decode()
    assert (
        "no request with restricted data or stricter left: all 1 attempts of 1 such requests went to the private side"
        in text
    )
    assert "unbroken" in text and "as they were sealed" in text
    answer = client.get(f"/policies/proof/?{hour_ago()}&download=1")
    assert answer["Content-Disposition"].startswith("attachment") and answer.json()["body"]["holds"] is True


def test_the_file_is_checked_by_the_command(company: Company, tmp_path: Path, capsys: Any) -> None:
    write([event(company.organisation)])
    answer = client_of("rita", company, "risk").get(f"/policies/proof/?{hour_ago()}&download=1")
    path = tmp_path / "proof.json"
    path.write_bytes(answer.content)
    call_command("policy_verify_proof", str(path))
    assert "this holds" in capsys.readouterr().out
    path.write_bytes(answer.content.replace(b'"requests": 1', b'"requests": 2'))
    with pytest.raises(CommandError):
        call_command("policy_verify_proof", str(path))


def test_what_left_is_named_and_leads_to_the_decision(company: Company) -> None:
    out = event(company.organisation, make_attempt())
    write([out])
    text = client_of("rita", company, "risk").get(f"/policies/proof/?{hour_ago()}").content.decode()
    assert "did leave: 1 of 1 attempts went outside" in text and f"/decisions/{out['decision_id']}/" in text


def test_a_changed_record_refutes_it(company: Company) -> None:
    write([event(company.organisation)])
    DecisionRecord.objects.update(sensitivity="internal")
    text = client_of("rita", company, "risk").get(f"/policies/proof/?{hour_ago()}").content.decode()
    assert "nothing can be proven" in text and "agree with their chain" in text


def test_a_neighbour_sees_neither_counts_nor_names(company: Company) -> None:
    out = event(company.organisation, make_attempt(), lob="legal")
    write([out, event(company.organisation)])
    bob = client_of("bob", company, "risk", "customer-service")
    text = bob.get(f"/policies/proof/?{hour_ago()}").content.decode()
    assert out["decision_id"] not in text and "all 1 attempts of 1 such requests" in text and "For:" in text
    assert bob.get(f"/policies/proof/?{hour_ago()}&lob=legal").status_code == 404


@pytest.mark.parametrize(
    "query",
    ["class=cosmic", "class=restricted&from=yesterday", "class=restricted&from=2026-02-31", "class=restricted&to=2020-01-01",
     "class=restricted&from=9999-12-31&to=9999-12-31", "class=restricted&from=%00"],
)  # fmt: skip
def test_nonsense_is_refused_in_words(company: Company, query: str) -> None:
    answer = client_of("rita", company, "risk").get(f"/policies/proof/?{query}")
    assert answer.status_code == 400 and answer.context["fault"]


def test_risk_officers_are_led_there_from_the_overview(company: Company) -> None:
    for role, shown in (("risk", True), ("admin", True), ("finance", False)):
        text = client_of(role, company, role).get("/").content.decode()
        assert ("/policies/proof/?class=restricted" in text) is shown, role


def test_the_command_proves_and_writes_the_signed_file(company: Company, tmp_path: Path, capsys: Any) -> None:
    write([event(company.organisation)])
    path, period = tmp_path / "proof.json", hour_ago().split("&")
    start, end = (part.partition("=")[2] for part in period[1:])
    call_command("policy_proof", "--from", start, "--to", end, "--out", str(path))
    assert "HOLDS" in capsys.readouterr().out
    assert json.loads(path.read_text())["body"]["counts"]["requests"] == 1
    for wrong in (
        ["--from", "never"],
        ["--from", "2026-11-01", "--lob", "nobody"],
        ["--from", end, "--to", start],
    ):
        with pytest.raises(CommandError):
            call_command("policy_proof", *wrong)
