"""A decision by chances explains itself: each candidate's chance, the floor it missed; no text and no sketch."""

from __future__ import annotations

from types import SimpleNamespace

from routing.contracts import LobInfo
from routing.execution.base import Completion
from routing.execution.confidence import chance_of
from routing.learned.live import Learned, Told
from routing.pipeline import _chances
from routing.policy.engine import decision_as_json
from routing.selectors.decisions import KEPT, _candidate
from tests.routing.learned.test_live import KEY, asked, facts, scorer, target
from tests.routing.policy.test_engine import COSTS, HOME, MINI, policies
from tests.routing.policy.test_engine import facts as policy_facts

RULE = (
    "rules: [{name: by chance, when: 'true', route: {choose: cheapest, among: [mini, home], quality_floor: 'abs:0.80', "
    "learned: true}}]"
)


def decided(scores):
    return policies(RULE).decide(
        policy_facts(), [HOME, MINI], lob="sales", worst_case=COSTS, sticky="x", scores=scores
    )


def test_the_cheapest_whose_chance_meets_the_floor_is_chosen_prompt_by_prompt():
    assert decided({"home": 0.95, "mini": 0.85}).hops[0].deployment == "mini"
    hard = decided({"home": 0.95, "mini": 0.60})
    assert hard.hops[0].deployment == "home"
    told = {row["deployment"]: _candidate(row) for row in decision_as_json(hard)["candidates"]}
    assert told["mini"]["chance"] == 0.6 and any(
        "0.600 is under 0.800" in reason for reason in told["mini"]["reasons"]
    )


def test_without_chances_nothing_is_told_of_them():
    assert all("chance" not in _candidate(row) for row in decision_as_json(decided(None))["candidates"])


def test_the_record_keeps_chances_and_sketch_apart_from_what_is_explained():
    told = Told({"mini": 0.61234}, b"\x01" * 100).as_json()
    assert told["chances"] == {"mini": 0.6123} and "learned" in KEPT
    assert Told({"mini": 0.5}).as_json() == {"chances": {"mini": 0.5}}


def test_the_pipeline_asks_only_where_something_was_learned():
    lob = LobInfo("legal", 1, "off", 0.5, keep_text=False, highest_sensitivity="internal")
    world = SimpleNamespace(learned=None, lobs={"legal": lob})
    run = SimpleNamespace(world=world, request=asked(), facts=facts(), candidates=[target("a")], told=None)
    assert _chances(run) is None and run.told is None  # type: ignore[arg-type]
    world.learned = Learned(frozenset({KEY.lob}), workloads={"chatter": scorer(a=(0.0, 0.0))})
    assert _chances(run) == {"a": 0.5} and run.told.chances == {"a": 0.5}  # type: ignore[arg-type]


# --- confidence of a cascade --------------------------------------------------------------------------------------------


def test_a_cascade_compares_the_map_of_the_model_that_answered_and_no_other():
    from dataclasses import replace

    from routing.contracts import ConfidenceMap

    answer = Completion({}, None, confidence=0.9)  # type: ignore[arg-type]
    halved = ConfidenceMap("m", lambda confidence: confidence / 2)
    mapped = replace(target("a"), calibrations={"chatter": halved})
    assert chance_of(asked(), mapped, answer) == 0.45
    newer = replace(target("a", model="m2"), calibrations={"chatter": halved})
    assert chance_of(asked(), newer, answer) == 0.9
    assert chance_of(asked(), mapped, Completion({}, None)) == 0.0  # type: ignore[arg-type]
