"""What people and attackers write, and what time and other people do to a policy that was right when it was written."""

import time
from datetime import UTC, datetime

import pytest

from routing.contracts import GatewayRequest
from routing.inspection.collect import inspect
from routing.policy.cel import MAX_LENGTH, CelError, parse
from routing.policy.check import check
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from switchyard.core.errors import ValidationFailed
from tests.clocks import cpu_seconds
from tests.routing.inspection.test_collect import KEY, Live, world
from tests.routing.policy.test_engine import HOME, facts

BOMBS = [
    '"' + "\\" * (MAX_LENGTH - 2) + '"', "a" * MAX_LENGTH, "a." * (MAX_LENGTH // 2), "1" * MAX_LENGTH, "0." + "1" * 1990,
    "(" * MAX_LENGTH, "!" * MAX_LENGTH, "[" * MAX_LENGTH, "-" * MAX_LENGTH, "has(" * 500, "request.stream||" * 125,
    "'" + "a'" * 900, 'workload.name.contains("' + "a?" * 900 + '")', " " * (MAX_LENGTH - 1) + "@", "||" * 1000,
    "1 in [" + "1," * 990,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS, ids=range(len(BOMBS)))
def test_an_expression_made_to_hurt_is_answered_at_once(bomb):
    def answered():
        try:
            check(parse(bomb), invariant=True)
        except CelError as error:
            assert 1 <= error.column <= MAX_LENGTH + 1

    assert cpu_seconds(answered) < 0.5


def test_a_document_of_many_wide_rules_is_checked_in_time():
    wide = " || ".join(f'(workload.name == "w{i}" && request.tokens_in > {i})' for i in range(35))
    rules = "".join(
        f"  - {{name: r{i}, when: '{wide} || time.hour == {i % 24}', route: {{prefer: [a]}}}}\n"
        for i in range(100)
    )

    def refused():
        with pytest.raises(ValidationFailed):  # every 24th is the same as one before it
            parse_document("rules:\n" + rules + "default: deny", organisation=True)

    assert cpu_seconds(refused) < 20


@pytest.mark.parametrize(
    "when",
    [
        "request.tokens_in > 10 && request.tokens_in < 5",
        'workload.name == "a" && workload.name == "b"',
        "workload.tier == 'core' && workload.tier == 'edge'",
        "data.sensitivity < internal && data.sensitivity > confidential",
        "request.stream && !request.stream",
        '"email" in data.entities && !("email" in data.entities)',
        "time.hour >= 22 && time.hour <= 5",
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(when):
    with pytest.raises(ValidationFailed, match="never true"):
        parse_document(f"rules: [{{name: r, when: '{when}', route: {{deny: true}}}}]".replace("'core'", '"core"').replace(
            "'edge'", '"edge"') + "\ndefault: deny", organisation=True)  # fmt: skip


def test_two_rules_that_contradict_each_other_are_refused_where_the_second_stands():
    text = (
        "rules:\n  - {name: out, when: 'workload.tier == \"edge\"', route: {prefer: [a]}}\n"
        "  - {name: home, when: 'workload.tier == \"edge\" && request.stream', route: {prefer: [b]}}\ndefault: deny\n"
    )
    with pytest.raises(ValidationFailed) as error:
        parse_document(text, organisation=True)
    assert (error.value.errors[0]["line"], "'out'" in error.value.errors[0]["message"]) == (3, True)


@pytest.mark.parametrize(
    "when",
    ["request.stream || data.sensitivty == restricted", "request.stream || (true && workload.teir == 'x')"],
)
def test_a_misspelt_fact_in_a_branch_that_is_seldom_reached_is_refused_with_the_right_word(when):
    with pytest.raises(CelError) as error:
        check(parse(when), invariant=False)
    assert "Did you mean" in error.value.message
    assert error.value.column > len("request.stream || ")


def at(moment):
    request = GatewayRequest(
        "req_1",
        "dec_1",
        KEY,
        "classifications",
        "classification",
        {"input": ["hello"]},
        b"",
        int(moment.timestamp() * 1e9),
    )
    return inspect(request, world(), Live()).values["time"]


def test_time_facts_are_utc_through_a_change_of_the_clocks(monkeypatch):
    """Europe's clocks jumped from 01:00 to 02:00 UTC+1 on 29 March 2026, and fall back on 25 October: no hour of UTC is
    missing or told twice, whatever zone the process lives in."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        spring = [at(datetime(2026, 3, 29, hour, 30, tzinfo=UTC))["hour"] for hour in range(24)]
        autumn = [at(datetime(2026, 10, 25, hour, 30, tzinfo=UTC)) for hour in range(24)]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert spring == list(range(24))
    assert [t["hour"] for t in autumn] == list(range(24))
    assert {t["weekday"] for t in autumn} == {6}


def test_a_rule_by_the_clock_decides_alike_before_and_after_its_hour_only():
    text = "rules: [{name: night, when: 'time.hour >= 22 || time.hour < 6', route: {prefer: [home]}}]\ndefault: deny"
    policies = CompiledPolicies(Rollout(parse_document(text, organisation=True)))
    told = [policies.decide(facts(time__hour=h), [HOME], lob="sales", worst_case={}).rule for h in range(24)]
    assert [h for h in range(24) if told[h] == "night"] == [0, 1, 2, 3, 4, 5, 22, 23]


def test_a_deployment_that_was_deleted_is_passed_over_and_said_to_be_gone():
    text = "rules: [{name: r, when: true, route: {prefer: [gone], fallback: [home], shadow: [gone]}}]\ndefault: deny"
    policies = CompiledPolicies(Rollout(parse_document(text, organisation=True)))
    told = policies.decide(facts(), [HOME], lob="sales", worst_case={})
    assert ([h.deployment for h in told.hops], told.shadows) == (["home"], ())
    alone = parse_document(text.replace("fallback: [home], ", ""), organisation=True)
    told = CompiledPolicies(Rollout(alone)).decide(facts(), [HOME], lob="sales", worst_case={})
    assert (told.hops, told.refusal) == ((), "no_deployment")


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200b", "\u200d", "\xad", "\ufeff"])
def test_what_a_reader_cannot_see_is_refused_where_it_stands(sign):
    """Who approves a text must read what is in force."""
    text = f"rules:\n  - {{name: stays home{sign}, when: true, route: {{deny: true}}}}\n"
    with pytest.raises(ValidationFailed) as error:
        parse_document(text, organisation=False)
    (fault,) = error.value.errors
    assert (fault["line"], fault["column"]) == (2, 22) and f"U+{ord(sign):04X}" in fault["message"]
    assert parse_document(text, organisation=False, strict=False).rules, "what was saved before is still read"
    assert parse_document("\ufeff" + text.replace(sign, ""), organisation=False).rules, (
        "a mark of the encoding is none"
    )


def test_a_threshold_of_another_form_is_told_the_right_one():
    text = 'rules: [{name: r, when: true, route: {cascade: [a, b], until: "confidence > 0.9"}}]'
    with pytest.raises(ValidationFailed, match="is not of the form `confidence >= 0.90`"):
        parse_document(text, organisation=False)
