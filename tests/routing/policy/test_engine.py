from dataclasses import replace

import pytest

from costs.contracts import NodeRate, PriceSheet
from routing.contracts import DeploymentInfo, Facts
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import empty_facts

ORGANISATION = """
invariants:
  - name: restricted data stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules:
  - name: core business
    when: workload.tier == "core"
    route: {prefer: [home], fallback: [home-2]}
default: deny
"""


def target(name, side, *, tasks=("classification",), lobs=(), quality=None, billable=True):
    return DeploymentInfo(
        name=name, organisation_id=1, side=side, base_url="http://x/v1", api_key="", model=name, tasks=frozenset(tasks),
        lobs=frozenset(lobs), region="", max_output_tokens=100, max_concurrency=1, heads=True,
        prices=PriceSheet("p") if billable and side == "external" else None,
        rate=NodeRate("n", "node", 1) if billable and side == "private" else None,
        quality={"w": quality} if quality else {},
    )  # fmt: skip


HOME, HOME2, OUT, MINI = (
    target("home", "private"),
    target("home-2", "private"),
    target("out", "external"),
    target("mini", "external"),
)
COSTS = {"home": 50, "home-2": 60, "out": 10, "mini": 5}


def facts(**values):
    whole = empty_facts()
    whole["workload"].update(name="w", task="classification", tier="edge")
    whole["lob"]["slug"] = "sales"
    for path, value in values.items():
        group, _, name = path.partition("__")
        whole[group][name] = value
    return Facts(whole)


def policies(lob_document=None, organisation=ORGANISATION, percent=100, previous=None):
    base = Rollout(parse_document(organisation, organisation=True, label="org@1"))
    lobs = {}
    if lob_document:
        before = parse_document(previous, organisation=False, label="sales@1") if previous else None
        lobs["sales"] = Rollout(
            parse_document(lob_document, organisation=False, label="sales@2"), percent, before
        )
    return CompiledPolicies(base, lobs)


def decide(document, given=None, candidates=(HOME, HOME2, OUT, MINI), **kwargs):
    return policies(document, **kwargs).decide(
        given or facts(), candidates, lob="sales", worst_case=COSTS, sticky=kwargs.get("sticky", "k")
    )


def names(decision):
    return [hop.deployment for hop in decision.hops]


def rule(route, when="true"):
    return f"rules:\n  - name: r\n    when: {when}\n    route: {route}\n"


def test_a_confidential_request_stays_private_when_external_is_cheaper():
    decision = decide(rule("{choose: cheapest, among: [out, home]}"), facts(data__sensitivity="confidential"))
    assert names(decision) == ["home"]
    out = next(c for c in decision.candidates if c.deployment == "out")
    assert not out.eligible
    assert out.reasons == ("invariant: restricted data stays home",)


def test_the_cheapest_comes_first_and_the_rest_follow():
    assert names(decide(rule("{choose: cheapest, among: [home, out, mini]}"))) == ["mini", "out", "home"]


def test_the_rules_of_a_line_of_business_come_before_the_organisations():
    decision = decide(rule("{prefer: [out]}", 'workload.tier == "core"'), facts(workload__tier="core"))
    assert names(decision) == ["out"]
    assert decision.policy_version == "org@1+sales@2"


def test_the_organisations_rule_decides_where_the_line_of_business_says_nothing():
    decision = decide(None, facts(workload__tier="core"))
    assert names(decision) == ["home", "home-2"]
    assert [h.hop for h in decision.hops] == ["first", "fallback"]


def test_no_rule_and_default_deny_is_a_refusal_by_policy():
    decision = decide(None)
    assert names(decision) == []
    assert decision.refusal == "denied"


def test_no_later_rule_is_tried_when_the_first_that_matches_has_nobody_left():
    document = (
        rule("{prefer: [gone]}")
        + '  - name: second\n    when: workload.tier == "edge" || request.stream\n    route: {prefer: [home]}\n'
    )
    document = document.replace("when: true", 'when: workload.tier == "edge"')
    decision = decide(document)
    assert names(decision) == []
    assert decision.refusal == "no_deployment"


def test_a_request_that_only_residency_stops_says_so():
    decision = decide(rule("{prefer: [out]}"), facts(data__sensitivity="restricted"))
    assert decision.refusal == "residency"


def test_a_quality_floor_is_relative_to_the_best_and_needs_thirty_rows():
    good, fair = (
        target("good", "private", quality=(0.90, 500)),
        target("fair", "external", quality=(0.80, 500)),
    )
    fresh = target("fresh", "external", quality=(0.99, 29))
    document = rule("{choose: cheapest, among: [fresh, fair, good], quality_floor: 0.95}")
    decision = decide(document, candidates=(good, fair, fresh))
    assert names(decision) == ["good"]
    reasons = {c.deployment: c.reasons for c in decision.candidates}
    assert "29 evaluated rows" in reasons["fresh"][0]
    assert "0.800 is under 0.855" in reasons["fair"][0]


def test_an_absolute_floor_is_taken_as_written():
    fair = target("fair", "external", quality=(0.80, 500))
    document = rule('{choose: cheapest, among: [fair], quality_floor: "abs:0.80"}')
    assert names(decide(document, candidates=(fair,))) == ["fair"]


def test_a_cascade_asks_the_small_one_until_it_is_sure():
    decision = decide(rule('{cascade: [mini, home], until: "confidence >= 0.9"}'))
    assert [(h.deployment, h.until_confidence) for h in decision.hops] == [("mini", 0.9), ("home", None)]


def test_a_split_sticks_to_its_key_and_keeps_its_shares():
    compiled = policies(rule("{split: {home: 0.9, out: 0.1}}"))
    firsts = [
        compiled.decide(facts(), (HOME, OUT), lob="sales", worst_case=COSTS, sticky=f"key-{i}")
        .hops[0]
        .deployment
        for i in range(2000)
    ]
    assert 0.07 < firsts.count("out") / 2000 < 0.13
    again = (
        compiled.decide(facts(), (HOME, OUT), lob="sales", worst_case=COSTS, sticky="key-7")
        .hops[0]
        .deployment
    )
    assert again == firsts[7]


def test_a_wish_is_granted_among_what_the_rule_allows_and_never_beyond():
    document = rule("{choose: cheapest, among: [mini, home]}")
    assert names(decide(document, facts(request__wish="home")))[0] == "home"
    assert "out" not in names(decide(document, facts(request__wish="out")))


def test_no_price_no_traffic():
    unpriced = target("mini", "external", billable=False)
    decision = decide(rule("{prefer: [mini], fallback: [home]}"), candidates=(unpriced, HOME))
    assert names(decision) == ["home"]


def test_a_neighbours_deployment_is_out_of_reach():
    theirs = target("mini", "external", lobs=("legal",))
    decision = decide(rule("{prefer: [mini], fallback: [home]}"), candidates=(theirs, HOME))
    assert names(decision) == ["home"]


def test_a_rollout_gives_its_share_the_new_document_and_the_rest_the_old():
    compiled = policies(rule("{prefer: [out]}"), percent=30, previous=rule("{prefer: [home]}"))
    firsts = [
        compiled.decide(facts(), (HOME, OUT), lob="sales", worst_case=COSTS, sticky=f"k{i}")
        .hops[0]
        .deployment
        for i in range(1000)
    ]
    assert 0.24 < firsts.count("out") / 1000 < 0.36


def test_an_error_in_a_residency_rule_closes_and_one_in_a_preference_is_skipped():
    broken = facts()
    broken.values["data"]["sensitivity"] = "no such class"
    compiled = policies(rule("{prefer: [out]}", "data.sensitivity >= internal"))
    decision = compiled.decide(broken, (HOME, OUT), lob="sales", worst_case=COSTS)
    assert decision.refusal == "denied"
    assert decision.trace[0].reason.startswith("skipped")
    assert compiled.errors == {"r": 1}
    assert not compiled.permits(broken, OUT, "first")


@pytest.mark.parametrize("hop", ["fallback", "retry", "shadow", "judge", "cache", "log", "training"])
def test_every_hop_asks_the_invariant_again(hop):
    compiled = policies()
    assert not compiled.permits(facts(data__sensitivity="restricted"), OUT, hop)
    assert compiled.permits(facts(data__sensitivity="restricted"), HOME, hop)
    assert compiled.permits(facts(data__sensitivity="internal"), OUT, hop)


def test_a_fallback_stands_outside_the_floor_so_that_new_deployments_can_answer_at_all():
    document = rule("{choose: cheapest, among: [mini, home], quality_floor: 0.96, fallback: [home]}")
    decision = decide(document)
    assert [(h.deployment, h.hop) for h in decision.hops] == [("home", "fallback")]
    home = next(c for c in decision.candidates if c.deployment == "home")
    assert home.eligible
    assert home.reasons == ("quality floor: 0 evaluated rows, 30 needed; allowed as fallback",)


def test_a_floor_is_relative_to_the_best_of_all_candidates_also_one_the_rule_does_not_name():
    good, fair = (
        target("good", "private", quality=(1.0, 500)),
        target("fair", "external", quality=(0.90, 500)),
    )
    document = rule("{choose: cheapest, among: [fair], quality_floor: 0.95}")
    assert decide(document, candidates=(good, fair)).refusal == "no_deployment"
    assert names(decide(document, candidates=(fair,))) == ["fair"]


def test_best_and_fastest_choose_by_quality_and_time():
    slow = replace(target("slow", "private", quality=(0.99, 500)), usual_accelerator_ns={"w": 900})
    quick = replace(target("quick", "private", quality=(0.90, 500)), usual_accelerator_ns={"w": 100})
    assert names(decide(rule("{choose: best, among: [quick, slow]}"), candidates=(slow, quick)))[0] == "slow"
    assert (
        names(decide(rule("{choose: fastest, among: [slow, quick]}"), candidates=(slow, quick)))[0] == "quick"
    )


def test_a_candidate_says_that_the_rule_does_not_name_it():
    decision = decide(rule("{prefer: [home]}"))
    mini = next(c for c in decision.candidates if c.deployment == "mini")
    assert (mini.eligible, mini.reasons, mini.cost_nusd) == (False, ("not named by rule 'r'",), 5)


def test_an_invariant_about_a_hop_closes_that_hop_only():
    organisation = ORGANISATION.replace(
        "rules:",
        '  - {name: no second try abroad, never: target.side == "external" && hop == "fallback"}\nrules:',
        1,
    )
    both = decide(rule("{prefer: [out, mini, home]}"), organisation=organisation)
    assert [(h.deployment, h.hop) for h in both.hops] == [("out", "first"), ("home", "fallback")]
    assert decide(rule("{prefer: [home], fallback: [out]}"), organisation=organisation).hops[1:] == ()


def test_shadows_obey_residency_and_go_nowhere_when_nobody_answers():
    document = rule("{prefer: [home], shadow: [out]}")
    assert decide(document).shadows == ("out",)
    assert decide(document, facts(data__sensitivity="restricted")).shadows == ()
    assert decide(rule("{prefer: [gone], shadow: [out]}")).shadows == ()


def test_during_a_partial_rollout_the_invariants_of_both_versions_hold_for_everybody():
    loose = ORGANISATION.replace(">= confidential", ">= restricted")
    new = parse_document(loose, organisation=True, label="org@2")
    old = parse_document(ORGANISATION, organisation=True, label="org@1")
    confidential = facts(data__sensitivity="confidential")
    assert not CompiledPolicies(Rollout(new, 50, old)).permits(confidential, OUT, "first")
    assert CompiledPolicies(Rollout(new, 100, old)).permits(confidential, OUT, "first")


def test_without_an_organisation_policy_only_private_deployments_may_answer():
    own = parse_document(rule("{prefer: [out], fallback: [home]}"), organisation=False, label="sales@1")
    compiled = CompiledPolicies(None, {"sales": Rollout(own)})
    decision = compiled.decide(facts(), (HOME, OUT), lob="sales", worst_case=COSTS)
    assert names(decision) == ["home"]
    assert not compiled.permits(facts(), OUT, "first")


def test_a_cap_guards_and_the_version_travel_with_the_decision():
    decision = decide(rule("{prefer: [home], max_cost_usd: 0.002, guards: [bias]}"))
    assert (decision.max_cost_nusd, decision.guards) == (2_000_000, ("bias",))
    assert decision.policy_version == "org@1+sales@2"
    assert len(decision.policy_hash.split("+")) == 2


def test_a_cascade_loses_its_threshold_when_residency_leaves_one():
    document = rule('{cascade: [mini, home], until: "confidence >= 0.9"}')
    decision = decide(document, facts(data__sensitivity="confidential"))
    assert [(h.deployment, h.hop, h.until_confidence) for h in decision.hops] == [("home", "first", None)]
