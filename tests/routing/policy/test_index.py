"""What the engine keeps and looks up gives what evaluating everything gives: decision, trace, errors."""

import logging

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import FACTS
from routing.policy.index import Range, narrow
from routing.policy.invariants import InvariantSet, broken_invariant
from routing.policy.matching import TRACED, Matcher, match, whole_trace
from routing.policy.rules import Document, Route
from tests.routing.policy.generated import (
    KNOWN,
    conditions,
    costs,
    deployments,
    documents,
    invariant_of,
    requests,
    rule_of,
    scores,
    whens,
)
from tests.routing.policy.reference import Reference
from tests.routing.policy.test_engine import HOME, OUT, facts

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=100)


HOME_ROUTE = Route("prefer", ("home",))


def rule(name, when):
    return rule_of(name, when, HOME_ROUTE)


@SLOW
@given(
    st.lists(st.sampled_from(sorted(FACTS)), min_size=1, max_size=4, unique=True).flatmap(
        lambda names: st.tuples(st.just(names), st.lists(whens(names), min_size=8, max_size=20))
    ),
    st.lists(requests(broken=True), min_size=3, max_size=6),
)
def test_the_index_leaves_out_no_rule_that_matches_or_fails(given_rules, asked):
    _names, conditions_of = given_rules
    matcher = Matcher(Document(tuple(rule(f"r{i}", when) for i, when in enumerate(conditions_of))))
    places = range(len(conditions_of))
    for given_facts in asked:
        found, plain = [], []
        assert matcher.first(given_facts.values, found) == matcher.first_of(places, given_facts.values, plain)
        assert found == plain
        try:
            left = matcher.index.possible(given_facts.values)
        except Exception:
            continue
        for i in places:
            if left >> i & 1 == 0:
                assert matcher.document.rules[i].matches(given_facts.values) is False


@SLOW
@given(
    documents(organisation=True), documents(organisation=False, label="a@1"), documents(organisation=False, label="a@2"),
    deployments(), st.lists(requests(broken=True), min_size=1, max_size=4), costs, scores, st.sampled_from(["k", "m", "x7"]),
    st.sampled_from([100, 40]),
)  # fmt: skip
def test_the_engine_decides_as_the_plainest_one_does(
    organisation, own, before, candidates, asked, worst_case, chances, sticky, percent
):
    logging.disable(logging.CRITICAL)
    try:
        policies = CompiledPolicies(Rollout(organisation), {"a": Rollout(own, percent, before)})
        for given_facts in asked:
            for lob in ("a", "b"):
                policies.errors.clear()
                told = policies.decide(
                    given_facts, candidates, lob=lob, worst_case=worst_case, sticky=sticky, scores=chances
                )
                plain = Reference(
                    policies, given_facts, candidates, lob=lob, worst_case=worst_case, sticky=sticky, scores=chances
                )  # fmt: skip
                expected = plain.decide()
                for name in expected.__dataclass_fields__:
                    assert getattr(told, name) == getattr(expected, name), name
                assert policies.errors == plain.errors
    finally:
        logging.disable(logging.NOTSET)


@SLOW
@given(st.lists(conditions(sorted(KNOWN)), max_size=3), deployments(), requests(broken=True), st.booleans())
def test_what_is_left_of_an_invariant_forbids_what_the_whole_one_forbids(
    nevers, candidates, given_facts, masked
):
    logging.disable(logging.CRITICAL)
    try:
        invariants = [invariant_of(f"i{i}", never) for i, never in enumerate(nevers)]
        kept = InvariantSet(invariants)
        for target in (*candidates, None):
            for hop in ("first", "fallback", "retry", "shadow", "judge", "cache", "log", "training"):
                whole = broken_invariant(invariants, given_facts, target, hop, masked=masked)
                assert kept.broken(given_facts, target, hop, masked=masked) == whole
    finally:
        logging.disable(logging.NOTSET)


def test_a_part_of_a_target_s_name_is_known_wherever_it_stands():
    kept = InvariantSet([invariant_of("n", '(request.stream) == target.name.startsWith("out")')])
    assert kept.broken(facts(), OUT, "first") is None
    assert kept.broken(facts(), HOME, "first") == "n"


def test_a_thousand_rules_on_workloads_leave_one_to_evaluate():
    rules = [rule(f"r{i}", f'workload.name == "w{i}" && request.difficulty >= 0.5') for i in range(1000)]
    index = Matcher(Document(tuple(rules))).index
    left = index.possible(facts(workload__name="w7", request__difficulty=0.7).values)
    assert left == 1 << 7
    assert index.possible(facts(workload__name="w7", request__difficulty=0.4).values) == 0


def test_numbers_are_found_on_below_and_above_their_bounds():
    rules = [rule("a", "request.tokens_in > 10"), rule("b", "request.tokens_in <= 10"),
             rule("c", "10 == request.tokens_in"), rule("d", "request.tokens_in >= 3 && request.tokens_in < 10"),
             *(rule(f"n{i}", f"request.tokens_in == {100 + i}") for i in range(6))]  # fmt: skip
    index = Matcher(Document(tuple(rules))).index
    found = {n: index.possible(facts(request__tokens_in=n).values) for n in (0, 3, 9, 10, 11, 103)}
    assert found == {0: 0b10, 3: 0b1010, 9: 0b1010, 10: 0b110, 11: 0b1, 103: 0b1 | 1 << 7}


def test_a_condition_narrows_what_must_hold_of_single_facts():
    told = narrow(
        rule(
            "r",
            '(workload.name == "a" || workload.name == "b") && !request.stream && data.sensitivity >= confidential '
            "&& time.hour >= 9 && time.hour < 17",
        ).tree
    )
    assert told["workload.name"] == {"a", "b"}
    assert told["request.stream"] == {False}
    assert told["data.sensitivity"] == {"confidential", "restricted"}
    assert told["time.hour"] == Range(9, False, 17, True)


def test_the_trace_of_a_thousand_rules_stays_small_and_says_what_it_leaves_out():
    rules = tuple(rule(f"r{i}", f'workload.name == "w{i}"') for i in range(1000))
    document = Document(rules)
    found = match([Matcher(document)], facts(workload__name="w900").values, {})
    assert found.rule == "r900"
    assert len(found.trace) == TRACED + 2
    assert found.trace[0].rule == f"({900 - TRACED} earlier rules)"
    assert [line.matched for line in found.trace] == [False] * (TRACED + 1) + [True]
    whole = whole_trace([document], facts(workload__name="w900").values)
    assert [line.rule for line in whole] == [f"r{i}" for i in range(901)]


def test_a_rule_that_fails_is_skipped_counted_and_shown_even_among_a_thousand():
    rules = [rule(f"r{i}", f'workload.name == "w{i}"') for i in range(1000)]
    rules[3] = rule("odd", 'workload.name == "w900" && request.difficulty > 0.5')
    given_facts = facts(workload__name="w900")
    del given_facts.values["request"]["difficulty"]
    policies = CompiledPolicies(Rollout(Document(tuple(rules), label="org@1")))
    decision = policies.decide(given_facts, [HOME], lob="sales", worst_case={})
    assert decision.rule == "r900"
    assert policies.errors == {"odd": 1}
    assert "odd" in [
        line.rule for line in decision.trace if line.reason == "skipped: KeyError in its condition"
    ]


def test_an_error_beside_a_false_is_false_whichever_stands_first():
    given_facts = facts()
    del given_facts.values["request"]["difficulty"]
    for when in (
        'request.difficulty > 0.5 && workload.name == "other"',
        'workload.name == "other" && request.difficulty > 0.5',
    ):
        assert rule("r", when).matches(given_facts.values) is False
    assert rule("r", 'request.difficulty > 0.5 || workload.name == "w"').matches(given_facts.values) is True


def test_a_residency_rule_that_fails_keeps_the_request_at_home():
    failing = rule("what may not leave", "data.sensitivity >= confidential && request.tokens_in > 5")
    outside = rule_of("the rest", "true", Route("prefer", ("out",), fallback=("home",), shadow=("out",)))
    policies = CompiledPolicies(Rollout(Document((failing, outside), default=Route("deny"), label="org@1")))
    whole, odd = facts(), facts(data__sensitivity="confidential")
    del odd.values["request"]["tokens_in"]
    told = policies.decide(whole, [HOME, OUT], lob="sales", worst_case={})
    assert [h.deployment for h in told.hops] == ["out", "home"]
    told = policies.decide(odd, [HOME, OUT], lob="sales", worst_case={})
    assert [h.deployment for h in told.hops] == ["home"]
    assert told.shadows == ()
    reason = (
        "invariant: residency: rule 'what may not leave' tests what the data is and could not be evaluated"
    )
    assert reason in next(c for c in told.candidates if c.deployment == "out").reasons
    assert policies.errors == {"what may not leave": 1}
    with_only_outside = CompiledPolicies(
        Rollout(
            Document((failing, rule_of("the rest", "true", Route("prefer", ("out",)))), default=Route("deny"))
        )
    )
    assert with_only_outside.decide(odd, [HOME, OUT], lob="sales", worst_case={}).refusal == "residency"


def test_a_preference_rule_that_fails_is_passed_over_and_whoever_is_outside_may_still_answer():
    failing = rule("small ones", "request.tokens_in < 5")
    outside = rule_of("the rest", "true", Route("prefer", ("out",)))
    policies = CompiledPolicies(Rollout(Document((failing, outside), default=Route("deny"), label="org@1")))
    odd = facts()
    del odd.values["request"]["tokens_in"]
    assert [h.deployment for h in policies.decide(odd, [HOME, OUT], lob="sales", worst_case={}).hops] == [
        "out"
    ]
    assert policies.errors == {"small ones": 1}
