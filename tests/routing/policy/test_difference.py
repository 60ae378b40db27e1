"""Two documents compared rule by rule, with the cases laid out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.policy.difference import by_rule
from routing.policy.document import parse_document
from routing.policy.rules import Document


def rules(*items: tuple[str, str, str]) -> Document:
    """(name, when, route) each."""
    text = "rules:" + (" []\n" if not items else "\n")
    for name, when, route in items:
        text += f"  - name: {name}\n    when: '{when}'\n    route: {route}\n"
    return parse_document(text, organisation=False, strict=False)


A, B, C, D = (
    (letter, f'workload.name == "{letter}"', f"{{prefer: [{letter}]}}") for letter in ("a", "b", "c", "d")
)


def told(old: Document, new: Document) -> list[tuple[str, tuple[str, ...]]]:
    return [(change.name, change.kinds) for change in by_rule(old, new)]


def test_nothing_changed_says_nothing():
    assert told(rules(A, B), rules(A, B)) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ((A, B), (A, C, B), [("c", ("added",))]),
        ((A, B, C), (A, C), [("b", ("removed",))]),
        ((A, B, C), (C, A, B), [("c", ("moved",))]),
        ((A, B, C, D), (D, C, B, A), [("d", ("moved",)), ("c", ("moved",)), ("b", ("moved",))]),
        ((A,), (("a", 'workload.name == "z"', A[2]),), [("a", ("changed",))]),
        ((A, B, C), (B, C, ("a", A[1], "{prefer: [z]}")), [("a", ("moved", "changed"))]),
        ((A, B), (("z", A[1], A[2]), B), [("z", ("renamed",))]),
        ((A,), (("z", A[1], "{prefer: [z]}"),), [("z", ("added",)), ("a", ("removed",))]),
    ],
)
def test_each_kind_of_change_is_named(old: tuple, new: tuple, expected: list):
    found = told(rules(*old), rules(*new))
    assert [(name, set(kinds)) for name, kinds in found] == [(name, set(kinds)) for name, kinds in expected]


def test_what_reads_differently_is_shown_field_by_field():
    old = rules(("a", "true", "{choose: cheapest, among: [x, y], quality_floor: 0.9}"))
    new = rules(("a", "data.sensitivity > public", "{prefer: [x], fallback: [y], max_cost_usd: 0.01}"))
    (change,) = by_rule(old, new)
    seen = {d.field: (d.old, d.new) for d in change.details}
    assert seen["when"] == ("true", "data.sensitivity > public")
    assert seen["kind"] == ("choose", "prefer") and seen["fallback"] == ("", "y")
    assert seen["targets"] == ("x, y", "x") and seen["max_cost_nusd"] == ("", "10000000")
    assert (change.old_place, change.new_place) == (1, 1)


def test_invariants_and_the_default_count_too():
    old = 'invariants: [{name: home, never: "hop == \\"log\\""}]\nrules: []\ndefault: deny\n'
    new = 'invariants: [{name: home, never: "hop == \\"cache\\""}]\nrules: []\ndefault: {prefer: [x]}\n'
    changes = by_rule(*(parse_document(text, organisation=True) for text in (old, new)))
    assert [(c.part, c.name, c.kinds) for c in changes] == [
        ("invariant", "home", ("changed",)), ("default", "default", ("changed",)),
    ]  # fmt: skip


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef"), unique=True))
def test_taking_the_moved_ones_out_leaves_one_order(old: list[str], new: list[str]):
    def of(letters: list[str]) -> Document:
        return rules(*((x, f'workload.name == "{x}"', f"{{prefer: [{x}]}}") for x in letters))

    changes = by_rule(of(old), of(new))
    moved = {c.name for c in changes if "moved" in c.kinds}
    assert {c.name for c in changes if c.kinds == ("added",)} == set(new) - set(old)
    assert {c.name for c in changes if c.kinds == ("removed",)} == set(old) - set(new)
    assert [x for x in old if x in new and x not in moved] == [x for x in new if x in old and x not in moved]
