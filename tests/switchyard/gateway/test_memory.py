"""What a snapshot was made of is let go when the next one is in force: caches by identity hold nothing of it."""

from __future__ import annotations

import gc
from collections import Counter

from routing.contracts import DeploymentInfo, KeyInfo, Snapshot
from routing.policy.engine import CompiledPolicies
from tests.fakes.gateway import RunningGateway

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}
KINDS = (Snapshot, KeyInfo, DeploymentInfo, CompiledPolicies)
ROUNDS = 6


def alive() -> Counter[str]:
    gc.collect()
    return Counter(type(thing).__name__ for thing in gc.get_objects() if type(thing) in KINDS)


def test_old_snapshots_are_let_go(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for round_ in range(ROUNDS):
            gateway.refresh()
            for stream in (False, True):
                assert client.post("/v1/chat/completions", json=CHAT | {"stream": stream}).status_code == 200
            if round_ == 1:
                before = alive()
    assert alive() == before
