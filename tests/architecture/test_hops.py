"""Every step at which somebody sees a request's data, or something of it is kept, asks the invariants; nobody sends besides."""

import ast
import re
from pathlib import Path

import pytest

from routing.policy.facts import HOPS

ROOT = Path(__file__).parents[2]
# hop → where it is asked: (file, what the line says). `judge` has nobody who makes such a call yet.
ASKED = {
    "first": [("routing/execution/fallback.py", "permits(run.facts, target, hop.hop")],
    "fallback": [("routing/execution/fallback.py", "permits(run.facts, target, hop.hop")],
    "retry": [("routing/execution/retries.py", '"retry"')],
    "shadow": [("routing/execution/shadow.py", '"shadow"')],
    "judge": [],
    "cache": [("routing/caching/exact.py", '"cache"'), ("platform/switchyard/gateway/idempotency.py", '"cache"')],
    "log": [
        ("routing/meter.py", '"log"'),  # answers kept for feedback
        ("routing/pipeline.py", '"log"'),  # texts on the review list
        ("platform/switchyard/gateway/responses/keeping.py", '"log"'),
        ("platform/switchyard/gateway/responses/calls.py", '"log"'),
        ("platform/switchyard/gateway/batches/asking.py", '"log"'),
    ],
    "training": [
        ("routing/pipeline.py", '"training"'),  # what learned routing keeps of a prompt
        ("routing/services/training.py", '"training"'),  # rows for a vendor's fine-tuning, asked by modelhub
        ("routing/services/reviews.py", '"training"'),  # reviewed texts for the next guard
        ("modelhub/services/fine_tuning.py", "refuse_to_leave(dataset, deployment, workload)"),
        ("modelhub/services/fine_tuning.py", "refuse_to_learn(dataset, deployment, workload)"),
        ("modelhub/services/fine_tuning.py", "why_not("),
    ],
}  # fmt: skip
# Who may call an upstream's client: each of them is handed hops that were asked.
SENDERS = {"routing/execution/fallback.py", "routing/execution/streaming.py"}
# Texts of our own, no caller's.
OWN_TEXTS = ("platform/switchyard/demo/",)


def test_every_hop_a_policy_can_name_is_on_the_list():
    assert set(ASKED) == set(HOPS)


@pytest.mark.parametrize(("path", "says"), sorted({place for places in ASKED.values() for place in places}))
def test_the_hop_is_asked_there(path, says):
    text = (ROOT / path).read_text()
    assert says in text, f"{path} no longer asks with {says}: whoever moved it must ask where it is now."


def test_nobody_else_calls_an_upstream():
    callers = set()
    for folder in ("routing", "platform", "modelhub", "costs"):
        for path in (ROOT / folder).rglob("*.py"):
            if re.search(r"\bupstream\.(whole|stream)\(", path.read_text()):
                callers.add(str(path.relative_to(ROOT)))
    others = {c for c in callers - SENDERS if not c.startswith(OWN_TEXTS)}
    assert not others, f"{others} send to an upstream: ask the policy there, and add the place above."


def test_nobody_makes_a_judge_call_without_asking():
    for path in (ROOT / "routing").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PlannedHop":
                told = [a.value for a in node.args if isinstance(a, ast.Constant)]
                assert "judge" not in told, f"{path}: list where the hop `judge` is asked, above."
