"""Customers' own terms: over REST by role and reach, sealed in their rows, in force in the snapshot, linear in the text."""

from __future__ import annotations

import pytest

from routing.inspection.collect import look_into
from routing.inspection.dictionaries import Dictionaries
from routing.models import SensitiveDictionary
from routing.selectors.world import snapshot_of
from switchyard.audit.models import AuditEvent
from tests.clocks import cpu_seconds
from tests.switchyard.api.company import Company
from tests.switchyard.api.conftest import *  # noqa: F403

BIRDS = {
    "name": "birds",
    "sensitivity": "restricted",
    "terms": ["Project Bluebird", "蓝鸟计划"],
    "lob": "legal",
}


def found_in(text: str, company: Company, lob: str) -> tuple[dict[str, int], str]:
    world = snapshot_of(company.organisation)
    findings = look_into([text], dictionaries=world.dictionaries.get(lob, Dictionaries()), names=False)
    return findings.counts, findings.floor


def test_a_term_raises_the_requests_of_its_line_of_business(company: Company):
    company.alice.post("dictionaries", BIRDS)
    assert found_in("When does PROJECT-bluebird start?", company, "legal") == (
        {"customer_term": 1},
        "restricted",
    )
    assert found_in("蓝鸟计划什么时候开始", company, "legal")[1] == "restricted"
    assert found_in("When does project bluebird start?", company, "customer-service") == ({}, "")
    assert found_in("A bluebird is a project of mine.", company, "legal") == ({}, "")


def test_one_of_the_organisation_holds_for_everybody_and_the_stricter_class_wins(company: Company):
    company.alice.post("dictionaries", {"name": "all", "terms": ["Bluebird"], "sensitivity": "confidential"})
    company.alice.post("dictionaries", BIRDS | {"terms": ["bluebird"]})
    assert found_in("bluebird", company, "customer-service")[1] == "confidential"
    assert found_in("bluebird", company, "legal")[1] == "restricted"


def test_what_is_switched_off_or_removed_is_no_longer_looked_for(company: Company):
    made = company.alice.post("dictionaries", BIRDS)
    company.alice.patch(f"dictionaries/{made['id']}", {"active": False})
    assert found_in("project bluebird", company, "legal") == ({}, "")
    company.alice.patch("dictionaries/birds", {"active": True, "terms": ["Redbird"]})
    assert found_in("redbird", company, "legal")[1] == "restricted"
    company.alice.delete("dictionaries/birds")
    assert found_in("redbird", company, "legal") == ({}, "")


def test_terms_are_sealed_and_told_to_nobody_who_may_not_write_them(company: Company):
    made = company.alice.post("dictionaries", BIRDS)
    assert made["terms"] == BIRDS["terms"] and made["count"] == 2
    row = SensitiveDictionary.objects.get()
    assert "Bluebird" not in row.sealed_terms and row.terms == BIRDS["terms"]
    viewer = company.person("vera", "viewer")
    assert viewer.get("dictionaries/birds")["terms"] == [] and viewer.get("dictionaries/birds")["count"] == 2
    viewer.post("dictionaries", BIRDS | {"name": "mine"}, expect=403)
    assert not any("luebird" in str(vars(event)) for event in AuditEvent.objects.all())


def test_a_neighbour_sees_none_of_it_and_makes_none_for_all(company: Company):
    made = company.alice.post("dictionaries", BIRDS)
    assert company.bob.get("dictionaries")["results"] == []
    company.bob.get(f"dictionaries/{made['id']}", expect=404)
    company.bob.patch(f"dictionaries/{made['id']}", {"active": False}, expect=404)
    company.bob.delete("dictionaries/birds", expect=404)
    company.bob.post("dictionaries", BIRDS | {"name": "x"}, expect=400)
    company.bob.post("dictionaries", {"name": "all", "terms": ["Bluebird"]}, expect=403)
    company.alice.post("dictionaries", {"name": "all", "terms": ["Bluebird"]})
    company.bob.patch(
        "dictionaries/all",
        {"active": False},
        expect=403 if company.bob.get("dictionaries")["results"] else 404,
    )
    company.bob.post("dictionaries", {"name": "own", "terms": ["Robin"], "lob": "customer-service"})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"terms": []}, "terms"), ({"terms": ["ab"]}, "terms"), ({"terms": ["x" * 300]}, "terms"),
        ({"terms": "Bluebird"}, "terms"),
        ({"terms": ["a b c d e f g h i j k l m n o p q"]}, "terms"), ({"sensitivity": "public"}, "sensitivity"),
        ({"lob": "nobody"}, "lob"), ({"colour": 1}, "colour"), ({"name": ""}, "name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_located_and_nothing_is_lost(company: Company, body: dict, path: str):
    errors = company.alice.post("dictionaries", BIRDS | body, expect=400)["errors"]
    assert errors[0]["path"].startswith(path)
    assert not SensitiveDictionary.objects.exists()


def test_a_name_is_given_once(company: Company):
    company.alice.post("dictionaries", BIRDS)
    assert company.alice.post("dictionaries", BIRDS, expect=400)["errors"][0]["path"] == "name"


def test_a_dictionary_that_cannot_be_opened_makes_every_request_restricted(company: Company):
    company.alice.post("dictionaries", BIRDS)
    SensitiveDictionary.objects.update(sealed_terms="gone", name="other")
    row = SensitiveDictionary.objects.get()
    row.save()
    assert found_in("hello", company, "legal")[0] == {"uninspected": 1}


def test_looking_for_twenty_thousand_terms_grows_with_the_text_only():
    terms = Dictionaries.of((f"project number{i} alpha beta", "restricted") for i in range(20_000))
    text = "project number7 alpha gamma " * 8_000  # every first word, nearly every term

    def seconds(part: str) -> float:
        return cpu_seconds(lambda: look_into([part], dictionaries=terms, names=False), rounds=3)

    small, large = (seconds(text[: len(text) // n]) for n in (8, 1))
    assert large < 8 * small * 3
    assert large < 2.0
