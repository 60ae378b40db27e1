import pytest

from routing.policy.document import digest, parse_document
from switchyard.core.errors import ValidationFailed

ORGANISATION = """\
invariants:
  - name: confidential data stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules:
  - name: core business
    when: workload.tier == "core"
    route: {prefer: [private-sparse], fallback: []}
default: deny
"""


def faults(text, *, organisation=True):
    with pytest.raises(ValidationFailed) as error:
        parse_document(text, organisation=organisation)
    return error.value.errors


def lob(*rules):
    return "rules:\n" + "".join(f"  - {{name: r{i}, {rule}}}\n" for i, rule in enumerate(rules))


def test_the_document_of_the_design_is_read_whole():
    text = """
invariants:
  - name: restricted data stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules:
  - name: ask small first
    when: workload.name == "support-intent"
    route: {cascade: [ext-mini, private-sparse], until: "confidence >= 0.90"}
  - name: edge at the lowest cost that is good enough
    when: workload.tier == "edge"
    route: {choose: cheapest, among: [ext-mini, private-sparse], quality_floor: 0.96, fallback: [private-sparse]}
  - name: experiment
    when: workload.tier == "experiment"
    route: {split: {private-sparse: 0.9, candidate: 0.1}, shadow: [ext-mini], max_cost_usd: 0.01, guards: [bias]}
default: deny
"""
    document = parse_document(text, organisation=True, label="org@1")
    cascade, choose, split = (rule.route for rule in document.rules)
    assert (cascade.kind, cascade.until_confidence) == ("cascade", 0.9)
    assert (choose.choose, choose.quality_floor, choose.fallback) == ("cheapest", 0.96, ("private-sparse",))
    assert split.weights == (("private-sparse", 0.9), ("candidate", 0.1))
    assert (split.shadow, split.max_cost_nusd, split.guards) == (("ext-mini",), 10_000_000, ("bias",))
    assert document.default is not None
    assert document.default.kind == "deny"
    assert document.hash == digest(text)


def test_an_error_points_at_its_line_and_column():
    [fault] = faults(ORGANISATION.replace("workload.tier", "workload.teir"))
    assert (fault["path"], fault["line"], fault["column"]) == ("rules[0].when", 6, 11)


@pytest.mark.parametrize(
    ("written", "line", "column"),
    [
        ('"request.stream || workload.teir == 1"', 3, 30),
        ("'request.stream || workload.teir == 1'", 3, 30),
        ("|\n      request.stream ||\n      workload.teir == 1", 5, 7),
        (">-\n      request.stream ||\n      workload.teir == 1", 5, 7),
        ("request.stream ||\n      workload.teir == 1", 4, 7),
    ],
)
def test_columns_hold_however_yaml_writes_a_text(written, line, column):
    text = f"rules:\n  - name: r\n    when: {written}\n    route: {{deny: true}}\n"
    [fault] = faults(text, organisation=False)
    assert (fault["line"], fault["column"]) == (line, column)


def test_every_fault_is_told_at_once():
    errors = faults(
        lob(
            'when: "request.streem", route: {prefer: [a]}',
            'when: "request.strem", route: {prefer: [a]}',
        ),
        organisation=False,
    )
    assert [e["path"] for e in errors] == ["rules[0].when", "rules[1].when"]


def test_the_organisation_needs_a_default_and_a_line_of_business_may_not_redefine():
    assert "default" in faults(ORGANISATION.replace("default: deny\n", ""))[0]["message"]
    assert {e["path"] for e in faults(ORGANISATION, organisation=False)} == {"invariants", "default"}


@pytest.mark.parametrize(
    ("route", "word"),
    [
        ("{prefer: [a], choose: cheapest, among: [a]}", "exactly one"),
        ("{fallback: [a]}", "exactly one"),
        ("{choose: cheapest}", "needs `among`"),
        ("{cascade: [a, b]}", "needs `until`"),
        ("{prefer: [a], quality_floor: 0.9}", "belongs to `choose`"),
        ("{choose: cheapest, among: [a], quality_floor: .nan}", "not infinity"),
        ("{choose: cheapest, among: [a], quality_floor: 96}", "share of the best in 0..1"),
        ("{split: {a: .inf}}", "not infinity"),
        ("{split: {a: 0}}", "0"),
        ("{prefer: [a], max_cost_usd: lots}", "amount of dollars"),
        ("{prefer: [a], max_cost_usd: -1}", "amount of dollars"),
        ("{prefer: [a], max_cost_usd: .nan}", "amount of dollars"),
        ("{cascade: [a, b], until: 'confidence > 2'}", "is not of the form"),
        ("{prefer: []}", "non-empty"),
        ("{prefer: [a], falback: [b]}", "known are"),
    ],
)  # fmt: skip
def test_a_route_that_says_too_little_or_too_much_is_refused(route, word):
    errors = faults(lob(f"when: true, route: {route}"), organisation=False)
    assert word in errors[0]["message"]


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ("true", "request.stream", "always matches"),
        ("data.sensitivity >= public", "request.stream", "always matches"),
        ("workload.tier == 'edge'", "workload.tier=='edge'", "whenever this one does"),
        ("workload.tier == 'edge'", "workload.tier == 'edge' && request.stream", "whenever this one does"),
        ("request.model == 'x' || request.stream", "request.model == 'x'", "whenever this one does"),
        ("workload.tier in ['edge', 'core']", "workload.tier == 'core'", "whenever this one does"),
        ("workload.tier != 'core'", "workload.tier == 'edge'", "whenever this one does"),
        ("request.stream", "workload.tier == 'edge' && workload.tier == 'core'", "never true"),
        ("request.stream", "data.sensitivity < workload.sensitivity", "never true"),
        ("request.stream", "false", "never true"),
    ],
)
def test_rules_that_nobody_can_reach_are_refused(first, second, word):
    rules = [f'when: "{condition}", route: {{prefer: [a]}}' for condition in (first, second)]
    errors = faults(lob(*rules), organisation=False)
    assert [e["path"] for e in errors] == ["rules[1].when"]
    assert word in errors[0]["message"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("workload.tier == 'edge' && request.stream", "workload.tier == 'edge'"),
        ("request.model == 'a b'", "request.model == 'ab'"),
        ("request.tokens_in > 10", "request.tokens_in > 5"),
        ("time.hour < 8 || time.hour >= 18", "time.weekday >= 5"),
    ],
)
def test_rules_that_somebody_can_reach_are_kept(first, second):
    rules = [f'when: "{condition}", route: {{prefer: [a]}}' for condition in (first, second)]
    assert len(parse_document(lob(*rules), organisation=False).rules) == 2


def test_two_rules_of_one_name_are_refused():
    text = lob('when: "request.stream", route: {prefer: [a]}', "when: true, route: {prefer: [b]}").replace(
        "r1", "r0"
    )
    assert "Two rules are called 'r0'." in faults(text, organisation=False)[0]["message"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("rules: [", "Not YAML"),
        ("- a", "must be a mapping"),
        ("", "must be a mapping"),
        ("rules: []\nrules: []\n", "given twice"),
        ("a: &a [1]\nb: [*a, *a]", "anchors and aliases"),
        ("a: " + "[" * 50_000, "nested deeper"),
        ("rules: !!python/object/apply:os.system [ls]", "Not YAML"),
        ("rules:\n  - {name: r, when: !request.stream, route: {deny: true}}", "in quotes"),
        ('rules:\n  - name: r\n    when: "email" in data.entities\n    route: {deny: true}', "in quotes"),
        ("rules: \x00", "Not YAML"),
        ("x" * 200_001, "larger than"),
        ("rules: [{name: r, when: 2001-99-99, route: {deny: true}}]", "can't be read"),
    ],
)
def test_text_that_is_no_policy_is_refused_in_words(text, word):
    with pytest.raises(ValidationFailed) as error:
        parse_document(text, organisation=False)
    assert word in error.value.errors[0]["message"]
