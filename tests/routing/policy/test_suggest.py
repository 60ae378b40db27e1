"""A fault's hint becomes a replacement that mends the text; examples of facts are conditions that hold water."""

from __future__ import annotations

import pytest

from routing.policy.cel import parse
from routing.policy.check import check
from routing.policy.document import parse_document
from routing.policy.examples import EXAMPLES, example_of
from routing.policy.facts import FACTS, TARGET_FACTS, describe
from routing.policy.suggest import Suggestion, suggest
from switchyard.core.errors import ValidationFailed

GOOD = """\
rules:
  - name: 出去
    when: 'workload.tier == "edge" && data.sensitivity == "internal"'
    route: {choose: cheapest, among: [a, b]}
"""


def fault_of(document: str) -> dict:
    with pytest.raises(ValidationFailed) as error:
        parse_document(document, organisation=False)
    return error.value.errors[0]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("workload.tier", "workload.teir"),
        ('"edge"', '"egde"'),
        ('"internal"', '"intrenal"'),
        ("when:", "whne:"),
        ("among:", "amnog:"),
    ],
)
def test_a_misspelling_is_mended_by_its_suggestion(right: str, wrong: str):
    document = GOOD.replace(right, wrong)
    found = suggest(document, fault_of(document))
    assert found is not None and found.applied(document) == GOOD


@pytest.mark.parametrize(
    "fault",
    [
        {"line": None, "column": None, "message": "Did you mean x?"},
        {"line": 2, "column": 3, "message": "Something else."},
        {"line": 99, "column": 1, "message": "Did you mean x?"},
        {"line": 1, "column": 999, "message": "Did you mean x?"},
    ],
)
def test_a_fault_without_a_place_or_a_hint_suggests_nothing(fault: dict):
    assert suggest(GOOD, fault) is None


def test_the_place_of_a_name_in_quotes_is_inside_them():
    text = 'rules: [{name: x, when: true, route: {prefer: ["ext-mni"]}}]'
    fault = {"line": 1, "column": text.index('"ext') + 1, "message": "Unknown. Did you mean 'ext-mini'?"}
    assert suggest(text, fault) == Suggestion(text.index("ext-mni"), text.index("ext-mni") + 7, "ext-mini")


def test_every_fact_has_an_example_that_is_a_condition_on_it():
    assert set(EXAMPLES) == set(FACTS) | set(TARGET_FACTS)
    for row in describe():
        example = example_of(row["name"])
        assert row["name"] in example
        check(
            parse(example), invariant=row["in"] == "invariants"
        )  # raises CelError for what can't be written
