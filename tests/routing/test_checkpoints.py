"""A checkpoint is a whole event that the ledger takes, whatever of it was encoded before."""

from __future__ import annotations

from typing import Any

import orjson

from costs.books.rows import attempt_values
from costs.contracts import NodeRate, PriceSheet
from routing.checkpoints import Checkpoints
from routing.contracts import Decision, Facts, GatewayRequest, KeyInfo, PlannedHop, WorkloadInfo
from routing.execution.deadlines import Deadline
from routing.kept import Kept
from routing.run import Run
from tests.routing.execution.test_balance import deployment

KEY = KeyInfo("key_1", "d", "acme", 1, "legal", "legal-app", 0)
WORKLOAD = WorkloadInfo("memo", 1, "legal", "chat", "edge", "internal", "accuracy", {})
EXTERNAL = deployment("ext", side="external", prices=PriceSheet("p1", input_nusd_per_munit=2_000_000_000))
PRIVATE = deployment(
    "own", rate=NodeRate("r1", "node-1", 3_600_000_000_000), usual_accelerator_ns={"memo": 1_000_000}
)


class World:
    """As much of a snapshot as a checkpoint looks at."""

    deployments = {d.name: d for d in (EXTERNAL, PRIVATE)}


def run_of(number: int, name: str = "ext", *, raw: bytes = b"x" * 400, **changes: Any) -> Run:
    request = GatewayRequest(
        f"req_{number}", f"dec_{number}", KEY, "chat/completions", "chat", {}, raw, 1_700_000_000_000_000_000 + number,
        workload=WORKLOAD, **changes,
    )  # fmt: skip
    run = Run(request, World(), Deadline(5))  # type: ignore[arg-type]
    run.facts = Facts({"data": {"sensitivity": "internal"}})
    run.decision = Decision((PlannedHop(name, "first", 5),), (), (), (), "v1", "h1", rule="edge")
    return run


def told(checkpoints: Checkpoints, run: Run) -> dict[str, Any]:
    return orjson.loads(checkpoints.of(run, "answer").body)


def test_it_names_the_call_and_what_it_would_cost():
    event = told(Checkpoints(), run_of(1))
    assert event["event_id"] == event["request_id"] == "req_1" and event["decision_id"] == "dec_1"
    assert event["kind"] == "usage" and event["error_code"] == "process_lost" and event["status"] == 0
    assert (event["lob"], event["application"], event["workload"], event["rule"]) == (
        "legal",
        "legal-app",
        "memo",
        "edge",
    )
    (attempt,) = event["attempts"]
    assert (
        attempt["deployment"] == "ext"
        and attempt["usage_source"] == "estimated"
        and attempt["tokens_in"] == 100
    )
    assert attempt["cost_nusd"] == event["cost_nusd"] == 200_000 and attempt["legs"] == {"input": 200_000}


def test_what_was_encoded_for_one_request_says_nothing_of_that_one_for_the_next():
    checkpoints = Checkpoints()
    first, second = told(checkpoints, run_of(1)), told(checkpoints, run_of(2, raw=b"x" * 800))
    assert second["request_id"] == "req_2" and second["attempts"][0]["tokens_in"] == 200
    assert second["cost_nusd"] == 2 * first["cost_nusd"] and second["at_ns"] == first["at_ns"] + 1
    differing = {name for name in first if first[name] != second[name]}
    assert differing == {"event_id", "request_id", "decision_id", "at_ns", "cost_nusd", "attempts"}


def test_whatever_decides_about_it_is_part_of_what_is_kept():
    checkpoints = Checkpoints()
    told(checkpoints, run_of(1))
    assert told(checkpoints, run_of(2, "own"))["attempts"][0]["node"] == "node-1"
    assert told(checkpoints, run_of(3, stream=True))["stream"] is True
    assert told(checkpoints, run_of(4, origin="batch"))["origin"] == "batch"
    graver = run_of(5)
    graver.facts = Facts({"data": {"sensitivity": "confidential"}})
    assert told(checkpoints, graver)["sensitivity"] == "confidential"
    other = run_of(6)
    other.decision = Decision((PlannedHop("ext", "shadow", 5),), (), (), (), "v2", "h2", rule="other")
    body = orjson.loads(checkpoints.of(other, "shadow").body)
    assert (body["policy_version"], body["rule"], body["purpose"]) == ("v2", "other", "shadow")


def test_the_ledger_reads_it_as_an_attempt():
    event = told(Checkpoints(), run_of(1, "own"))
    values = attempt_values(event, event["attempts"][0], False)
    assert values["deployment"] == "own" and values["cost_nusd"] == event["cost_nusd"] > 0


def test_kept_things_are_found_by_identity_and_bounded():
    made: list[Any] = []
    kept = Kept(lambda thing: made.append(thing) or len(made), most=3)
    one, same = ["a"], ["a"]
    assert kept.of(one) == kept.of(one) == 1 and kept.of(same) == 2
    things = [[i] for i in range(10)]
    for thing in things:
        kept.of(thing)
    assert len(kept._known) <= 3
