"""All eight hops: what the verifier says of an invariant there is what engine and execution do, for every request."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.contracts import Facts
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import CLASS_NAMES, CLASSES, HOPS, KEEPING_HOPS, empty_facts
from routing.policy.invariants import broken_invariant
from routing.policy.verify import WorkloadFact, prove
from tests.routing.policy.generated import conditions, documents, invariant_of, requests
from tests.routing.policy.test_proven import DEPLOYMENTS, TARGETS, TESTED, WORKLOADS, of_workload, route_taken

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
NEW = WorkloadFact("not-registered-yet", "a", "classification", "experiment", "public")


def told(document, workloads=WORKLOADS, lobs=("a", "b")):
    proof = prove(document, document.invariants, workloads, TARGETS, lobs=list(lobs))
    return {(v.invariant, v.hop): v for v in proof.hops}


def everything_done(policies, document, facts, lob):
    """(target or None, hop, masked) of all that the product may do with this request's data, rows for training left out."""
    everybody = list(DEPLOYMENTS.values())
    decision = policies.decide(facts, everybody, lob=lob, worst_case={})
    route = route_taken(document, decision)
    if route.kind == "deny":
        return
    for name, hop in itertools.product((*route.targets, *route.fallback), ("first", "fallback")):
        if name in DEPLOYMENTS:  # either, by who is passed over or rests
            yield DEPLOYMENTS[name], hop, route.mask and DEPLOYMENTS[name].side == "external"
    for name in route.shadow:
        if name in DEPLOYMENTS:
            yield DEPLOYMENTS[name], "shadow", route.mask and DEPLOYMENTS[name].side == "external"
    for hop in decision.hops:  # whoever is planned may be asked again
        yield DEPLOYMENTS[hop.deployment], "retry", hop.masked
    if facts.sensitivity != "restricted":
        yield from ((None, hop, False) for hop in KEEPING_HOPS)


@SLOW
@given(documents(organisation=True, most=5, names=TESTED), st.lists(requests(), min_size=2, max_size=4))
def test_where_a_hop_is_proven_no_request_ever_needs_to_be_stopped(document, asked):
    """Also at raised classes, and for a workload that nobody had registered when the proof was made."""
    never_stopped_where_proven(document, asked)


@SLOW
@given(
    documents(organisation=True, most=4, names=TESTED),
    st.lists(st.tuples(st.sampled_from(HOPS), conditions(["target.side", "target.name", *TESTED])), min_size=1, max_size=3),
    st.lists(requests(), min_size=1, max_size=3),
)  # fmt: skip
def test_the_same_of_invariants_about_a_single_hop(document, nevers, asked):
    """Such as a retry that is forbidden where the first try isn't."""
    invariants = tuple(
        invariant_of(f"n{i}", f'hop == "{hop}" && ({when})') for i, (hop, when) in enumerate(nevers)
    )
    never_stopped_where_proven(replace(document, invariants=invariants), asked)


def never_stopped_where_proven(document, asked):
    verdicts, policies = told(document), CompiledPolicies(Rollout(document))
    for base, workload in itertools.product(asked, [*WORKLOADS, NEW]):
        for sensitivity in CLASS_NAMES[CLASSES[workload.sensitivity] :]:
            facts = of_workload(base, workload, sensitivity)
            for target, hop, masked in everything_done(policies, document, facts, workload.lob):
                for invariant in document.invariants:
                    if verdicts[invariant.name, hop].verdict in ("proven", "unused"):
                        assert broken_invariant([invariant], facts, target, hop, masked=masked) is None, hop


@SLOW
@given(documents(organisation=True, most=5, names=TESTED))
def test_the_request_that_is_shown_for_a_hop_is_stopped_there(document):
    policies = CompiledPolicies(Rollout(document))
    for (_name, hop), verdict in told(document).items():
        example = verdict.example
        assert (example is not None) == (verdict.verdict in ("held", "broken"))
        if example is None or not example.certain:
            continue
        values = empty_facts()
        for name, value in example.facts.items():
            group, _dot, field = name.partition(".")
            values[group][field] = value
        facts = Facts(values)
        if example.deployment:
            target = DEPLOYMENTS[example.deployment]
            assert not policies.permits(facts, target, hop, masked=example.masked)
        else:
            assert not policies.keeps(facts, hop)
        if example.rule:
            lob = example.facts["lob.slug"]
            assert (
                policies.decide(facts, list(DEPLOYMENTS.values()), lob=lob, worst_case={}).rule
                == example.rule
            )


RULES = """
rules:
  - {name: edge, when: 'workload.tier == "edge"', route: {prefer: [out], fallback: [home]%s}}
default: {prefer: [home]}
"""


def of(never, extra=""):
    text = f"invariants: [{{name: n, never: '{never}'}}]" + RULES % extra
    verdicts = told(parse_document(text, organisation=True))
    return {hop: verdicts["n", hop] for hop in HOPS}


@pytest.mark.parametrize(
    ("never", "held"),
    [
        ('hop == "retry" && target.side == "external"', {"retry"}),
        ('hop == "log" && data.sensitivity >= confidential', {"log"}),
        ('hop == "cache" && data.sensitivity >= confidential', {"cache"}),
        ('hop == "training"', {"training"}),
        ('hop == "training" && target.side == "external" && "email" in data.entities', {"training"}),
        ('hop == "retry" && target.name == "home" && request.tokens_in > 100', {"retry"}),
        ('hop == "fallback" && target.name == "home" && request.tokens_in > 100', {"fallback"}),
        ('hop == "judge"', set()),
        ('hop == "shadow"', set()),
        ('data.sensitivity >= confidential && target.side == "external"', {"first", "fallback", "training"}),
    ],
)
def test_hops_that_no_document_names_are_told_too(never, held):
    verdicts = of(never)
    assert {hop for hop, v in verdicts.items() if v.verdict in ("held", "broken")} == held
    assert {hop for hop, v in verdicts.items() if v.verdict == "unused"} == {"judge", "shadow"}
    for hop in held:
        assert verdicts[hop].example.facts["lob.slug"] in "ab" and verdicts[hop].example.hop == hop


def test_who_is_never_let_in_is_never_asked_again():
    """`retry` needs no example where the first try is forbidden already."""
    assert of('target.side == "external"')["retry"].verdict == "proven"
    example = of('target.side == "external" && hop == "retry"')["retry"].example
    assert (example.deployment, example.rule, example.certain) == ("out", "edge", True)


def test_restricted_data_is_kept_by_nobody_so_nothing_must_hold_it():
    verdicts = of("data.sensitivity == restricted && hop in [cache, log, training]".replace(
        "[cache, log, training]", '["cache", "log", "training"]'))  # fmt: skip
    assert (verdicts["cache"].verdict, verdicts["log"].verdict) == ("proven", "proven")
    assert verdicts["training"].example.deployment  # rows for a deployment: only the invariant keeps them


def test_a_workload_that_does_not_exist_yet_is_looked_at():
    text = """
invariants: [{name: n, never: 'target.side == "external" && workload.name == "mergers"'}]
rules: [{name: r, when: 'workload.name == "mergers"', route: {prefer: [out]}}]
default: deny
"""
    verdict = told(parse_document(text, organisation=True))["n", "first"]
    assert (verdict.verdict, verdict.example.facts["workload.name"]) == ("held", "mergers")


def test_what_the_document_asks_for_is_broken_and_refused():
    text = """
invariants: [{name: n, never: 'target.side == "external" && data.sensitivity >= confidential'}]
rules: [{name: r, when: 'workload.name == "b"', route: {prefer: [out], shadow: [out]}}]
default: deny
"""
    document = parse_document(text, organisation=True)
    proof = prove(document, document.invariants, WORKLOADS, TARGETS, lobs=["a"])
    assert [e.hop for e in proof.examples] == ["first"]
    assert {v.hop: v.verdict for v in proof.hops}["first"] == "broken"
