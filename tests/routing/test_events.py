"""A request's event says all there is to say of it, whatever of it was encoded for an earlier one."""

from __future__ import annotations

from typing import Any

import orjson

from costs.contracts import Usage
from costs.spool import Written, encode
from routing.contracts import CandidateView, Decision, Facts, LobInfo, RuleTrace
from routing.guards.base import RiskGuard
from routing.meter import Meter
from routing.policy.candidates import Row
from routing.policy.views import CandidateViews, candidates_as_json
from routing.run import Run
from tests.routing.test_checkpoints import run_of

FIELDS = {
    "kind", "event_id", "request_id", "decision_id", "at_ns", "origin", "organisation_id", "lob", "purpose", "application",
    "key_id", "workload", "task", "tier", "endpoint", "stream", "sensitivity", "side", "deployment", "model",
    "policy_version", "policy_hash", "rule", "status", "error_code", "cost_nusd", "other_side_cost_nusd",
    "other_side_deployment", "latency_ms", "overhead_ms", "answers", "cache", "facts", "found", "masked", "trace",
    "candidates", "attempts", "prices", "guard", "sealed_answers", "confidence", "shadow",
}  # fmt: skip
LOB = LobInfo("legal", 1, "off", 0.25, False, "internal")
NONE_OF = {"kind": "", "score": 0.0, "threshold": 0.25, "spans": []}


class Policies:
    def permits(self, *_: Any, **__: Any) -> bool:
        return True

    def keeps(self, *_: Any) -> bool:
        return True


class World:
    def __init__(self, run: Run) -> None:
        self.deployments = run.world.deployments
        self.lobs, self.trials, self.policies = {"legal": LOB}, (), Policies()


def made(number: int, name: str = "ext", **changes: Any) -> Run:
    run = run_of(number, name, **changes)
    run.world = World(run)  # type: ignore[assignment]
    run.guard_for = lambda lob: RiskGuard(
        None, mode=lob.guard_mode, threshold=0.25, keep_text=False, timeout_ms=5
    )
    run.candidates = list(run.world.deployments.values())
    return run


def answered(number: int, name: str = "ext", **changes: Any) -> Run:
    run = made(number, name, **changes)
    target = run.world.deployments[name]
    run.attempted(
        target,
        began=0.0,
        began_ns=7,
        usage=Usage(tokens_in=100, tokens_out=3, accelerator_ns=50),
        model="m-1",
    )
    run.answered_by, run.answers, run.answer_count = target, ["yes"], 1
    return run


def meter() -> Meter:
    return Meter(None, lambda lob, data: f"sealed:{lob}:{data.decode()}")  # type: ignore[arg-type]


def told(event: Written) -> dict[str, Any]:
    return orjson.loads(encode(event))


def test_an_answer_is_told_whole():
    run = answered(1)
    event = told(meter().event(run))
    assert set(event) == FIELDS
    assert (event["event_id"], event["request_id"], event["decision_id"]) == ("req_1", "req_1", "dec_1")
    assert (event["side"], event["deployment"], event["model"]) == ("external", "ext", "m-1")
    assert event["prices"]["version"] == "p1" and event["prices"]["input_nusd_per_munit"] == 2_000_000_000
    assert event["guard"] == {"verdict": "pass", "mode": "off"} | NONE_OF
    assert event["cost_nusd"] == event["attempts"][0]["cost_nusd"] == run.cost_nusd > 0
    assert (event["lob"], event["workload"], event["rule"], event["policy_version"]) == (
        "legal",
        "memo",
        "edge",
        "v1",
    )
    assert event["other_side_deployment"] == "own" and event["other_side_cost_nusd"] == 1_000_000
    assert event["sealed_answers"] == 'sealed:legal:["yes"]' and event["answers"] == 1
    assert event["facts"] == {"data": {"sensitivity": "internal"}} and event["found"] == {}
    assert event["at_ns"] == run.request.received_ns and event["purpose"] == "answer"


def test_a_refusal_is_told_with_nobody_behind_it():
    run = made(2)
    run.decision, run.facts = None, None
    run.status, run.error_code = 403, "policy_denied"
    event = told(meter().event(run))
    assert set(event) == FIELDS
    assert (event["side"], event["deployment"], event["model"], event["prices"]) == ("", "", "", {})
    assert (event["status"], event["error_code"], event["policy_version"]) == (403, "policy_denied", "none")
    assert event["trace"] == event["candidates"] == event["attempts"] == [] and event["facts"] == {}


def test_nothing_of_one_request_is_in_the_next_ones():
    same = meter()
    first, second = told(same.event(answered(1))), told(same.event(answered(2, "own", raw=b"y" * 40)))
    assert (
        second["event_id"] == "req_2"
        and second["deployment"] == "own"
        and second["prices"]["node"] == "node-1"
    )
    graver = answered(3)
    graver.facts = Facts({"data": {"sensitivity": "confidential"}}, {"email": 2})
    event = told(same.event(graver))
    assert event["sensitivity"] == "confidential" and event["found"] == {"email": 2} and first["found"] == {}
    other = answered(4, stream=True, origin="batch")
    other.decision = Decision(
        other.decision.hops, (), (RuleTrace("r", True, "it's so"),), (), "v2", "h2", rule="other"
    )
    event = told(same.event(other))
    assert (event["stream"], event["origin"], event["policy_version"], event["rule"]) == (
        True,
        "batch",
        "v2",
        "other",
    )
    assert event["trace"] == [{"rule": "r", "matched": True, "reason": "it's so"}]


def test_a_guard_that_found_something_is_told_and_a_shadow_has_none():
    run = answered(1)
    run.guard.withheld_by_model({"harm": 0.9})
    assert told(meter().event(run))["guard"] == {"verdict": "withhold", "mode": "off"} | NONE_OF | {
        "kind": "harm",
        "score": 0.9,
    }
    shadow = answered(2)
    shadow.guard_for = None
    assert told(meter().event(shadow))["guard"] == {"verdict": "pass", "mode": "off"}


class Standing:
    """As much of one as views ask for."""

    under_floor: dict[str, str] = {}
    kept = (
        Row("50% off", "external", True, ()),
        Row('a "b"', "private", False, ("not named by rule 'x'", "ü")),
    )

    def rows(self, planned: Any, notes: Any) -> tuple[Row, ...]:
        return self.kept if notes is self.under_floor else (*self.kept,)


def test_candidates_are_written_as_they_would_be_encoded():
    standing: Any = Standing()
    for costs in ({"50% off": 7}, {"50% off": 9, 'a "b"': 0}, {}):
        for notes in (standing.under_floor, {"a": "b"}):
            for chances in ({}, {"50% off": 0.5}):
                views = CandidateViews(standing, (), costs, notes, chances)
                assert orjson.loads(orjson.dumps(views.for_json())) == candidates_as_json(views)
                assert all(isinstance(view, CandidateView) for view in views)


def test_what_admission_asks_of_an_event_needs_no_reading():
    event = Written(b"no json at all", {"event_id": "e1"})
    assert event and event["event_id"] == "e1" and encode(event) == b"no json at all"
    event = Written(b'{"event_id":"e1","a":[1]}', {"event_id": "e1"})
    assert event.get("a") == [1] and event.get("b") is None and dict(event) == {"event_id": "e1", "a": [1]}
