"""Whether an answer was right: said outright, or judged here from the kept answer and the workload's rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag

from routing.contracts import KeyInfo, Snapshot
from switchyard.core.clock import now_ns
from switchyard.core.crypto import open_for_lob
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.core.ids import new_id

WORDS = ("correct", "label", "score")


def feedback_event(
    body: Mapping[str, Any], decision: Mapping[str, Any], key: KeyInfo, world: Snapshot
) -> dict[str, Any]:
    """The event for the stream. `decision` is the usage event or its record. Raises InvalidRequest or NotFound."""
    index = body.get("index", 0)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0:
        raise InvalidRequest("`index` must be a whole number from 0.", param="index")
    if index >= max(1, int(decision.get("answers") or 0)):
        raise NotFound(f"The decision has no answer {index}.", param="index")
    given = [word for word in WORDS if body.get(word) is not None]
    if len(given) != 1:
        raise InvalidRequest(
            "Send exactly one of `correct` (true or false), `label`, `score` (0 to 1).", param="correct"
        )
    correct, score = _judge(given[0], body[given[0]], index, decision, key, world)
    return {
        "kind": "feedback", "event_id": new_id(f"fb:{decision['decision_id']}:{index}"),
        "decision_id": decision["decision_id"], "index": index, "correct": correct, "score": score, "at_ns": now_ns(),
        "organisation_id": key.organisation_id, "lob": key.lob, "application": decision["application"],
        "workload": decision["workload"], "deployment": decision["deployment"], "model": decision["model"],
        "side": decision["side"], "origin": decision["origin"], "answered_at_ns": decision["at_ns"],
    }  # fmt: skip


def _judge(
    word: str, value: Any, index: int, decision: Mapping[str, Any], key: KeyInfo, world: Snapshot
) -> tuple[bool | None, float | None]:
    if word == "correct":
        if not isinstance(value, bool):
            raise InvalidRequest("`correct` must be true or false.", param="correct")
        return value, None
    if word == "score":
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InvalidRequest("`score` must be a number from 0 to 1.", param="score")
        return None, float(value)
    workload = world.workloads.get(decision["workload"])
    rule = workload.correct_rule if workload else {}
    return judge(_kept_answer(decision, index, key), value, rule), None


def _kept_answer(decision: Mapping[str, Any], index: int, key: KeyInfo) -> Any:
    try:
        return orjson.loads(open_for_lob(key.lob, decision.get("sealed_answers") or ""))[index]
    except (InvalidTag, ValueError, IndexError):
        raise InvalidRequest(
            "The answer was not kept (restricted data, or too long ago), so a label can't be compared: send `correct`.",
            param="label",
        ) from None


def judge(answer: Any, truth: Any, rule: Mapping[str, Any]) -> bool:
    """By the workload's rule: labels equal, or a value within an absolute or relative distance of the truth.

    {"kind": "label"} | {"kind": "within", "absolute": 20, "cap": 125} | {"kind": "within", "relative": 0.15}
    """
    if rule.get("kind") != "within":
        return str(answer) == str(truth)
    try:
        given, wanted = float(answer), float(truth)
    except (TypeError, ValueError):
        raise InvalidRequest("`label` must be a number for this workload.", param="label") from None
    if "cap" in rule:
        given, wanted = min(given, float(rule["cap"])), min(wanted, float(rule["cap"]))
    if "absolute" in rule:
        return abs(given - wanted) <= float(rule["absolute"])
    return abs(given - wanted) <= float(rule["relative"]) * abs(wanted)
