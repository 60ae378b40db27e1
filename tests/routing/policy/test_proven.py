"""The proof and the engine agree: what was proven never happens, what is shown does."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.contracts import Facts
from routing.policy.cel import parse
from routing.policy.check import check
from routing.policy.compile import compile_tree
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import CLASS_NAMES, ENTITIES, HOPS, empty_facts
from routing.policy.outcomes import possible
from routing.policy.verify import OURSELVES, TargetFact, WorkloadFact, prove, uses_of
from routing.policy.witness import witness
from switchyard.core.errors import ValidationFailed
from tests.routing.policy.generated import conditions, documents, requests
from tests.routing.policy.test_against_cel import facts
from tests.routing.policy.test_engine import target

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=80)
WORKLOADS = [
    WorkloadFact("a", "a", "classification", "edge", "internal"),
    WorkloadFact("b", "a", "classification", "core", "confidential"),
    WorkloadFact("c", "b", "classification", "experiment", "public"),
    WorkloadFact("d", "b", "classification", "edge", "restricted"),
]
DEPLOYMENTS = {
    name: target(name, "private" if name.startswith("home") else "external")
    for name in ("home", "home-2", "out", "mini")
}
TARGETS = {name: TargetFact(name, d.side, d.model, d.region) for name, d in DEPLOYMENTS.items()}
# What a document tests of a request, beside what its workload settles.
TESTED = [
    "data.sensitivity",
    "lob.slug",
    "request.stream",
    "request.tokens_in",
    "workload.name",
    "workload.tier",
]


def of_workload(facts, workload, sensitivity):
    values = {group: dict(fields) for group, fields in facts.values.items()}
    values["workload"] = {"name": workload.name, "task": workload.task, "tier": workload.tier,
                          "sensitivity": workload.sensitivity}  # fmt: skip
    values["lob"]["slug"], values["request"]["wish"] = workload.lob, ""
    values["data"]["sensitivity"] = sensitivity
    return Facts(values)


def route_taken(document, decision):
    return next((r.route for r in document.rules if r.name == decision.rule), document.default)


@SLOW
@given(documents(organisation=True, most=6, names=TESTED), st.lists(requests(), min_size=2, max_size=5))
def test_what_was_proven_never_happens(document, asked):
    """A document without counter-example is never stopped by an invariant at a class that a workload declares."""
    proof = prove(document, document.invariants, WORKLOADS, TARGETS, lobs=["a", "b"])
    policies = CompiledPolicies(Rollout(document))
    for base, workload in itertools.product(asked, WORKLOADS):
        facts = of_workload(base, workload, workload.sensitivity)
        decision = policies.decide(facts, list(DEPLOYMENTS.values()), lob=workload.lob, worst_case={})
        for hop in decision.hops:  # whatever the proof said: what is planned is permitted
            assert policies.permits(facts, DEPLOYMENTS[hop.deployment], hop.hop, masked=hop.masked)
        if proof.examples:
            continue
        for use in uses_of(route_taken(document, decision)):
            if use.target in DEPLOYMENTS:
                named = DEPLOYMENTS[use.target]
                masked = use.masked and named.side == "external"
                assert policies.permits(facts, named, use.hop, masked=masked), (use, decision.rule)
            elif use.target == OURSELVES.name and facts.sensitivity != "restricted":
                assert policies.keeps(facts, "cache")


@SLOW
@given(documents(organisation=True, most=6, names=TESTED))
def test_every_counter_example_that_is_shown_happens(document):
    proof = prove(document, document.invariants, WORKLOADS, TARGETS, lobs=["a", "b"])
    policies = CompiledPolicies(Rollout(document))
    for example in proof.examples:
        if not example.certain:
            continue  # the search gave up before it found a whole request: refused all the same, and told as "may"
        values = empty_facts()
        for name, value in example.facts.items():
            group, _, field = name.partition(".")
            if group in values:
                values[group][field] = value
        facts = Facts(values)
        decision = policies.decide(
            facts, list(DEPLOYMENTS.values()), lob=example.facts["lob.slug"], worst_case={}
        )
        assert decision.rule == example.rule
        if example.deployment:
            named = DEPLOYMENTS[example.deployment]
            assert not policies.permits(facts, named, example.hop, masked=example.masked)
        else:
            assert not policies.keeps(facts, "cache")


@SLOW
@given(documents(organisation=True, most=3), requests())
def test_the_outcomes_that_the_proof_goes_by_miss_none(document, asked):
    """`possible` with everything known is what the engine evaluates, on every side, hop and class."""
    known = {f"{g}.{n}": v for g, fields in asked.values.items() for n, v in fields.items()}
    for invariant, named, hop in itertools.product(document.invariants, TARGETS.values(), HOPS):
        seen = known | {"target.name": named.name, "target.side": named.side, "target.model": named.model,
                        "target.region": named.region, "hop": hop, "data.masked": False}  # fmt: skip
        told = CompiledPolicies(Rollout(document))._never.broken(asked, DEPLOYMENTS[named.name], hop)
        if True in possible(invariant.tree, seen):
            assert told is not None
        if all(True not in possible(i.tree, seen) for i in document.invariants):
            assert told is None


def tree(source):
    return check(parse(source), invariant=True)


def test_a_witness_is_found_where_there_is_one_and_only_there():
    there = witness({"lob.slug": "a"}, [(tree("request.tokens_in > 10 && request.tokens_in < 12"), True)])
    assert there.found == {"request.tokens_in": 11}
    nowhere = witness({}, [(tree("request.tokens_in > 10"), True), (tree("request.tokens_in >= 3"), False)])
    assert (nowhere.found, nowhere.sure) == (None, True)
    unsure = witness({}, [(tree('request.model.startsWith("gpt")'), True)])
    assert unsure.found is not None or not unsure.sure


NUMBERS_AND_LISTS = [
    "request.difficulty",
    "budget.used_pct",
    "request.tokens_in",
    "data.entities",
    "request.stream",
]
MANY = " && ".join(f'"{kind}" in data.entities' for kind in ENTITIES[:9])


@SLOW
@given(
    st.lists(st.tuples(conditions(NUMBERS_AND_LISTS), st.booleans()), min_size=1, max_size=3),
    facts(),
    st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.99, 1.0]),
    st.sets(st.sampled_from(ENTITIES)),
)
def test_what_a_request_does_is_never_said_to_be_impossible(asked, whole, difficulty, found):
    whole["request"]["difficulty"], whole["data"]["entities"] = difficulty, sorted(found)
    wanted = [(tree(source), outcome) for source, outcome in asked]
    if all(bool(compile_tree(node)(whole)) is outcome for node, outcome in wanted):
        search = witness({}, wanted)
        assert search.found is not None or not search.sure


@pytest.mark.parametrize(
    "when",
    [
        "request.difficulty < 0.3", "quality.accuracy < 0.9 && request.stream", "budget.used_pct < 0.5", MANY,
        "request.difficulty > 0.9", "request.difficulty > 0 && request.difficulty < 0.3", "request.difficulty >= 1",
    ],
)  # fmt: skip
def test_a_rule_that_somebody_can_reach_is_kept(when):
    parse_document(
        f"rules:\n  - name: r\n    when: '{when}'\n    route: {{deny: true}}\ndefault: deny",
        organisation=True,
    )


@pytest.mark.parametrize(
    "when", ["request.difficulty > 1", "request.difficulty >= 1.5", f"!({MANY}) && {MANY}"]
)
def test_a_rule_beyond_what_a_fact_can_be_is_refused(when):
    with pytest.raises(ValidationFailed, match="never true"):
        test_a_rule_that_somebody_can_reach_is_kept(when)


LATE = """
invariants: [{name: n, never: '%s && target.side == "external"'}]
rules:
%s
  - {name: out, when: 'workload.name == "a"', route: {prefer: [out], fallback: [home]}}
default: {prefer: [home]}
"""


@pytest.mark.parametrize("never", ['"us_ssn" in data.entities', "request.difficulty < 0.3"])
def test_an_invariant_is_not_proven_because_rules_speak_of_much_else(never):
    others = [k for k in ENTITIES if k != "us_ssn"][:7]
    rules = "\n".join(
        f"  - {{name: {kind}, when: '\"{kind}\" in data.entities', route: {{prefer: [home]}}}}"
        for kind in others
    )
    document = parse_document(LATE % (never, rules), organisation=True)
    proof = prove(document, document.invariants, WORKLOADS, TARGETS, lobs=["a", "b"])
    assert [(e.rule, e.hop, e.certain) for e in proof.examples] == [("out", "first", True)]


OPEN = """
invariants:
  - name: home unless masked
    never: data.sensitivity >= confidential && target.side == "external" && !data.masked
  - name: nothing confidential is kept
    never: data.sensitivity >= confidential && hop in ["cache", "training"]
rules:
  - name: r
    when: workload.name == "b"
    route: {prefer: [out], fallback: [home]%s}
default: deny
"""


def examples(extra):
    document = parse_document(OPEN % extra, organisation=True)
    return [
        (e.invariant, e.hop)
        for e in prove(document, document.invariants, WORKLOADS, TARGETS, lobs=["a", "b"]).examples
    ]


def test_masking_opens_only_what_an_invariant_says_it_opens():
    assert examples("") == [("home unless masked", "first")]
    assert examples(", mask: true") == []
    document = parse_document(OPEN % ", mask: true", organisation=True)
    policies = CompiledPolicies(Rollout(document))
    facts = of_workload(Facts(empty_facts()), WORKLOADS[1], "restricted")
    hops = policies.decide(facts, list(DEPLOYMENTS.values()), lob="a", worst_case={}).hops
    assert [(h.deployment, h.masked) for h in hops] == [("out", True), ("home", False)]
    assert not policies.permits(facts, DEPLOYMENTS["out"], "first")
    strict = parse_document((OPEN % ", mask: true").replace(" && !data.masked", ""), organisation=True)
    assert [e.masked for e in prove(strict, strict.invariants, WORKLOADS, TARGETS, lobs=["a"]).examples] == [
        True
    ]


def test_a_cache_that_an_invariant_forbids_is_refused_with_the_request():
    assert examples(", mask: true, cache: {ttl_s: 60}") == [("nothing confidential is kept", "cache")]


def test_nothing_restricted_is_cached_whatever_a_document_says():
    text = "rules: [{name: r, when: true, route: {prefer: [home], cache: {ttl_s: 60}}}]\ndefault: deny"
    policies = CompiledPolicies(Rollout(parse_document(text, organisation=True)))
    kept = {
        c: policies.decide(of_workload(Facts(empty_facts()), WORKLOADS[0], c), list(DEPLOYMENTS.values()), lob="a",
                           worst_case={}).cache is not None
        for c in CLASS_NAMES
    }  # fmt: skip
    assert kept == {"public": True, "internal": True, "confidential": True, "restricted": False}
