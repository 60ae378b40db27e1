"""A shadow version asked beside the live one: one decision more on a sample of the requests, and no call.

It is asked when the request has ended and its event is written, so nobody waits for it but the event; deciding costs about as
much as it did on the way in (≤20 µs with the documents of the demonstration), on one request in SAMPLE_EVERY.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from routing.contracts import Trial

if TYPE_CHECKING:
    from routing.run import Run

SAMPLE_EVERY = 4


def asked_beside(run: Run) -> list[dict[str, Any]]:
    """What each shadow of this request's scope says, for its event; [] on most requests, and wherever none runs."""
    if not run.world.trials or run.facts is None or run.decision is None or run.shadow is not None:
        return []
    if zlib.crc32(b"beside" + run.request.request_id.encode()) % SAMPLE_EVERY:
        return []
    lob = run.request.key.lob
    return [_one(trial, run) for trial in run.world.trials if trial.lob in ("", lob)]


def _one(trial: Trial, run: Run) -> dict[str, Any]:
    """{"policy", "hop", "side", "worst_nusd", "live", "live_side", "live_worst_nusd", "crosses": hops that the invariants in
    force forbid}. A shadow that fails says so and harms nobody."""
    assert run.facts is not None and run.decision is not None
    by_name = {target.name: target for target in run.candidates}
    worst = {c.deployment: c.cost_nusd for c in run.decision.candidates if c.cost_nusd is not None}
    scores = {c.deployment: c.chance for c in run.decision.candidates if c.chance is not None}
    try:
        told = trial.policies.decide(
            run.facts, run.candidates, lob=run.request.key.lob, worst_case=worst, sticky=run.request.sticky, scores=scores
        )  # fmt: skip
        crosses = sum(
            not run.world.policies.permits(run.facts, by_name[h.deployment], h.hop, masked=h.masked)
            for h in told.hops
        )
    except Exception as error:
        return {"policy": trial.policy, "error": type(error).__name__}
    first = told.hops[0] if told.hops else None
    live = run.decision.hops[0] if run.decision.hops else None
    return {
        "policy": trial.policy, "hop": first.deployment if first else "",
        "side": by_name[first.deployment].side if first else "", "worst_nusd": first.worst_case_nusd if first else 0,
        "live": live.deployment if live else "", "live_side": by_name[live.deployment].side if live else "",
        "live_worst_nusd": live.worst_case_nusd if live else 0, "crosses": crosses,
    }  # fmt: skip
