"""Faults keep template and values beside their English, so that a page can say them in another language."""

import json

import pytest

from routing.policy.cel import CelError, parse
from routing.policy.check import check
from routing.policy.document import parse_document
from routing.policy.said import Said, _, from_kept, in_words, kept
from switchyard.core.errors import ValidationFailed


def loud(template):
    return {"%(name)s is missing here.": "%(name)s FEHLT"}.get(template, template)


def test_a_sentence_is_its_english_text_everywhere_else():
    said = _("%(name)s is missing here.") % {"name": "100 %"}
    assert said == "100 % is missing here." and json.dumps(said) == '"100 % is missing here."'
    assert in_words(said, loud) == "100 % FEHLT"
    assert in_words("plain % text", loud) == "plain % text"


def test_sentences_behind_each_other_are_said_each_by_itself():
    inner = _("%(name)s is missing here.") % {"name": "x"}
    both = _("Look: %(what)s") % {"what": inner} + " " + inner
    assert both == "Look: x is missing here. x is missing here."
    assert in_words(both, loud) == "Look: x FEHLT x FEHLT"


def test_what_is_stored_is_read_back_with_its_parts():
    said = _("Look: %(what)s, %(n)s") % {"what": _("%(name)s is missing here.") % {"name": "x"}, "n": 3}
    again = from_kept(json.loads(json.dumps(kept(said))))
    assert (again, again.parts) == (said, said.parts)
    assert from_kept(kept("100 % plain")) == "100 % plain"


@pytest.mark.parametrize(
    "source",
    ["request.tokens > 1", "data.sensitivity >= restrcted", "(", "'a' 'b'", "workload.teir == 'x'", "a.matches('x')", "1 < 'a'",
     "lob.slug < 'a'", "hop == 'first'", "workload.tier == 'kern'", "request.stream && 1", "[1", "9" * 30, "x" * 3000, "@",
     "request.model in request.wish", "request.tokens_in.contains('a')", "'\\x'", "(" * 40 + "true"],
)  # fmt: skip
def test_every_fault_of_an_expression_can_be_translated(source):
    with pytest.raises(CelError) as error:
        check(parse(source), invariant=False)
    assert isinstance(error.value.message, Said)


@pytest.mark.parametrize(
    "text",
    ["[1]", "rules: [", "a: &x 1", "rules: {a: 1, a: 2}", "rules: 5", "rules: [{name: r}]", "rulse: []",
     "rules: [{name: r, when: true, route: {prefer: []}}]", "rules: [{name: '', when: true, route: {deny: true}}]",
     "rules: [{name: r, when: true, route: {prefer: [a, a]}}]", "rules: [{name: r, when: true, route: {prefer: [a], cache: {}}}]",
     "rules: [{name: r, when: true, route: {prefer: [a], cache: {ttl_s: 0}}}]", "rules: []\ninvariants: [{name: a, never: true}]",
     "rules: [{name: r, when: true, route: {choose: slowest, among: [a]}}]",
     "rules: [{name: r, when: true, route: {deny: true}}, {name: r, when: false, route: {deny: true}}]",
     "rules: [{name: r, when: true, route: {prefer: [a], max_cost_usd: lots}}]", "x: " + "[" * 20 + "]" * 20, "a: 2020-99-99"],
)  # fmt: skip
def test_every_fault_of_a_document_can_be_translated(text):
    with pytest.raises(ValidationFailed) as error:
        parse_document(text, organisation=False)
    for fault in error.value.errors:
        assert isinstance(fault["message"], Said), fault
