import pytest

from routing.policy.document import parse_document
from routing.policy.verify import TargetFact, WorkloadFact, prove, unknown_deployments

ORGANISATION = """
invariants:
  - name: confidential data stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules: []
default: deny
"""
TARGETS = {
    "home": TargetFact("home", "private", "txt-base", "eu"),
    "out": TargetFact("out", "external", "txt-edge", "us"),
}
INTENT = WorkloadFact("support-intent", "customer-service", "classification", "edge", "internal")
CLAUSES = WorkloadFact("contract-clauses", "legal", "classification", "core", "confidential")
NOTES = WorkloadFact("clinical-notes", "healthcare", "classification", "core", "restricted")
WORKLOADS = (INTENT, CLAUSES, NOTES)
LOBS = ("customer-service", "healthcare", "legal")


def rule(route, when="true", name="r"):
    return f"  - name: {name}\n    when: '{when}'\n    route: {route}\n"


def of_lob(rules, lob, organisation=ORGANISATION, workloads=WORKLOADS):
    document = parse_document("rules:\n" + rules, organisation=False)
    invariants = parse_document(organisation, organisation=True).invariants
    return prove(document, invariants, workloads, TARGETS, lobs=[lob])


def of_organisation(rules, default="deny", workloads=WORKLOADS, invariants=ORGANISATION):
    text = invariants.replace("rules: []", "rules:\n" + rules if rules else "rules: []")
    document = parse_document(text.replace("default: deny", f"default: {default}"), organisation=True)
    return prove(document, document.invariants, workloads, TARGETS, lobs=LOBS)


def test_core_work_of_a_lob_with_confidential_workloads_may_not_be_sent_out():
    [example] = of_lob(rule("{prefer: [out]}", 'workload.tier == "core"'), "legal").examples
    assert example.facts["workload.name"] == "contract-clauses"
    assert example.facts["data.sensitivity"] == "confidential"
    assert (example.deployment, example.side, example.hop) == ("out", "external", "first")
    assert example.path == "rules[0].route.prefer[0]"
    for word in ("contract-clauses", "confidential", "'out'", "first", "confidential data stays home"):
        assert word in example.sentence()


@pytest.mark.parametrize(
    ("route", "hop"),
    [
        ("{prefer: [home], fallback: [out]}", "fallback"),
        ("{prefer: [home, out]}", "fallback"),
        ("{prefer: [home], shadow: [out]}", "shadow"),
        ("{choose: cheapest, among: [home, out]}", "first"),
        ("{split: {home: 0.9, out: 0.1}}", "first"),
        ('{cascade: [home, out], until: "confidence >= 0.9"}', "fallback"),
    ],
)
def test_every_hop_that_a_document_names_is_proven(route, hop):
    [example] = of_lob(rule(route.replace("'", '"')), "legal").examples
    assert (example.deployment, example.hop) == ("out", hop)


@pytest.mark.parametrize(
    "route",
    [
        "{choose: cheapest, among: [out, home], quality_floor: 0.96}",
        '{cascade: [out, home], until: "confidence >= 0.9"}',
        "{prefer: [out], fallback: [home]}",
        "{split: {home: 0.9, out: 0.1}, shadow: [out]}",
    ],
)
def test_internal_work_may_leave_when_raised_requests_find_somebody_at_home(route):
    proof = of_lob(rule(route, 'workload.tier == "edge"'), "customer-service")
    assert proof.examples == []
    assert proof.warnings == []
    assert proof.cases > 0


def test_internal_work_that_only_goes_out_is_saved_with_a_warning():
    proof = of_lob(rule("{prefer: [out]}"), "customer-service")
    assert proof.examples == []
    assert "raised to confidential or restricted" in proof.warnings[0]


@pytest.mark.parametrize(
    "when", ["data.sensitivity == confidential", "data.sensitivity >= internal", "data.sensitivity != public"]
)
def test_a_rule_that_asks_for_a_class_nobody_it_names_may_see_is_refused(when):
    [example] = of_lob(rule("{prefer: [out]}", when), "customer-service").examples
    assert example.facts["data.sensitivity"] == "confidential"


def test_a_target_that_no_matched_request_may_ever_reach_is_refused_also_beside_a_private_one():
    when = "data.sensitivity >= confidential"
    [example] = of_lob(rule("{choose: cheapest, among: [out, home]}", when), "customer-service").examples
    assert example.deployment == "out"


def test_a_condition_can_leave_the_forbidden_classes_out():
    proof = of_lob(rule("{prefer: [out]}", "data.sensitivity < confidential"), "legal")
    assert proof.examples == []


def test_requests_without_a_workload_count_as_the_highest_class_of_their_lob():
    [example] = of_lob(rule("{prefer: [out]}", 'workload.name == ""'), "healthcare").examples
    assert example.facts["data.sensitivity"] == "restricted"
    assert "no workload" in example.sentence()


def test_an_unknown_fact_is_taken_to_be_whatever_breaks_the_promise():
    assert of_lob(rule("{prefer: [out]}", "private.queue_s > 30.0"), "legal").examples
    careful = ORGANISATION.replace('"external"', '"external" && request.language == "zh"')
    assert of_lob(rule("{prefer: [out]}"), "legal", organisation=careful).examples


def test_rules_before_it_can_keep_the_dangerous_requests_from_a_rule():
    rules = rule("{prefer: [home]}", 'workload.tier == "core"', "core") + rule(
        "{prefer: [out]}", "true", "rest"
    )
    assert of_organisation(rules).examples == []
    rules = rule("{prefer: [home]}", 'workload.tier == "core" && request.stream', "core") + rule(
        "{prefer: [out]}", "true", "rest"
    )
    assert {e.rule for e in of_organisation(rules).examples} == {"rest"}


def test_the_default_is_a_route_like_any_other():
    [example] = of_organisation("", default="{prefer: [out]}").examples
    assert (example.rule, example.path) == ("default", "default.prefer[0]")


def test_each_invariant_is_proven_by_itself():
    two = ORGANISATION.replace(
        "rules: []",
        '  - name: no shadows abroad\n    never: target.region == "us" && hop == "shadow"\nrules: []',
    )
    proof = of_organisation(
        rule("{prefer: [home], shadow: [out]}", 'workload.tier == "edge"'), invariants=two
    )
    assert [e.invariant for e in proof.examples] == ["no shadows abroad"]


def test_without_an_external_target_there_is_nothing_to_break():
    assert of_organisation(rule("{prefer: [home]}"), default="{prefer: [home]}").examples == []


def test_an_organisation_s_document_without_invariants_says_that_nothing_is_proven():
    bare = "rules: []\ndefault: deny\n"
    assert "no invariant" in of_organisation("", invariants=bare).warnings[0]
    assert of_organisation("").warnings == [] == of_lob(rule("{prefer: [home]}"), "legal").warnings


def test_a_rule_for_a_workload_there_is_not_is_warned_about():
    proof = of_lob(rule("{prefer: [home]}", 'workload.name == "suport-intent"'), "customer-service")
    assert "matches no workload" in proof.warnings[0]


def test_unknown_deployments_are_named_with_their_place():
    document = parse_document(
        "rules:\n" + rule("{split: {home: 1, gone: 1}, fallback: [lost]}"), organisation=False
    )
    assert list(unknown_deployments(document, {"home"})) == [
        ("rules[0].route.split.gone", "gone"),
        ("rules[0].route.fallback[0]", "lost"),
    ]
