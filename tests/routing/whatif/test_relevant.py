"""Equal keys are decided alike: what no compared version can tell apart is one group."""

from __future__ import annotations

import random
from typing import Any

from routing.contracts import Facts
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import whole
from routing.whatif.plans import Arm, decide_group
from routing.whatif.relevant import Candidate, relevant
from tests.routing.whatif.worlds import deployments, group_of

TEXT = """\
invariants:
  - name: stays
    never: data.sensitivity >= confidential && target.side == "external"
rules:
  - {name: long, when: 'request.tokens_in > 500 && request.tokens_in != 700', route: {prefer: [ext-a, private-a]}}
  - {name: night, when: 'time.hour < 6 || time.weekday == 6', route: {prefer: [private-a]}}
  - {name: personal, when: '"email" in data.entities', route: {prefer: [private-a]}}
  - {name: hard, when: 'request.difficulty >= 0.5', route: {prefer: [ext-b, private-a]}}
default: {choose: cheapest, among: [ext-a, ext-b, private-a]}
"""


def document(text: str = TEXT) -> Any:
    return parse_document(text, organisation=True, label="org@1", strict=False)


def facts_of(**given: Any) -> dict[str, dict[str, Any]]:
    return whole({"workload": {"name": "w", "task": "chat", "tier": "edge"}} | given)


def drawn(source: random.Random) -> dict[str, dict[str, Any]]:
    return facts_of(
        request={"tokens_in": source.choice([1, 499, 500, 501, 699, 700, 701]), "difficulty": source.random()},
        time={"hour": source.randrange(24), "weekday": source.randrange(7)},
        data={"entities": source.sample(["email", "phone"], source.randrange(3)),
              "sensitivity": source.choice(["public", "internal", "confidential", "restricted"])},
    )  # fmt: skip


def test_numbers_that_compare_alike_are_one_and_those_on_a_bound_are_their_own() -> None:
    key = relevant([document()]).values
    several = [key(facts_of(request={"tokens_in": n})) for n in (1, 500, 501, 699, 700, 701)]
    # 500 and 700 are written in the document: they are told apart from their neighbours.
    assert len(set(several)) == 5
    assert several[2] == several[3]


def test_what_no_rule_tests_tells_nothing_apart() -> None:
    key = relevant([document()]).values
    assert key(facts_of(request={"max_tokens": 1})) == key(facts_of(request={"max_tokens": 900}))
    assert key(facts_of(time={"hour": 7})) == key(facts_of(time={"hour": 19}))
    assert key(facts_of(time={"hour": 5})) != key(facts_of(time={"hour": 7}))


def test_the_order_of_costs_counts_only_where_it_is_asked_for() -> None:
    dear_first = [Candidate("a", 9, None), Candidate("b", 5, None)]
    cheap_first = [Candidate("a", 5, None), Candidate("b", 9, None)]
    asked = relevant([document()])
    assert asked.of_candidates(dear_first) != asked.of_candidates(cheap_first)
    plain = relevant([document(TEXT.replace("choose: cheapest, among", "prefer"))])
    assert plain.of_candidates(dear_first) == plain.of_candidates(cheap_first)


def test_groups_are_decided_as_each_of_their_requests_would_be() -> None:
    """Four thousand drawn requests: each goes where the first of its group went."""
    source, policy = random.Random(4), document()
    asked, compiled = relevant([policy]), CompiledPolicies(Rollout(policy))
    known, arm = deployments(), Arm([(1.0, policy)], {})
    groups: dict[Any, str] = {}
    for _ in range(4_000):
        facts = drawn(source)
        costs = {d.name: source.choice([1, 2, 3]) for d in known}
        candidates = [Candidate(name, cost, None) for name, cost in costs.items()]
        hops = compiled.decide(Facts(facts), known, lob="l", worst_case=costs).hops
        key = (asked.values(facts), asked.of_candidates(candidates))
        if key not in groups:
            [outcome] = decide_group(group_of(facts, costs), arm, known, ())
            groups[key] = outcome.chain[0][0]
        assert groups[key] == hops[0].deployment
    assert 20 < len(groups) < 3_000
