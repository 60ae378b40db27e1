"""Masking on a request's way: prepared once after the decision, used by every hop that may see masked text only.

Hops at home get the request as it came, also as a fallback after a masked one. The mapping is a field of the run: no record,
event, log or cache holds it, and an answer with values put back is not cached.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from routing import quote, shapes
from routing.contracts import GatewayRequest, PlannedHop
from routing.execution.base import Completion
from routing.inspection.collect import NOTHING
from routing.masking.mask import Masked, mask_body
from routing.masking.unmask import StreamUnmasker, unmask_completion
from routing.run import Run
from switchyard.core.errors import ResidencyUnavailable


def prepare(run: Run) -> None:
    """Mask the request where the decision may send it out masked. What can't be masked stays at home: such hops are taken off
    the plan. Raises ResidencyUnavailable when none is left."""
    decision = run.decision
    if decision is None or not decision.mask:
        return
    outside = [s for s in decision.shadows if run.world.deployments[s].side == "external"]
    if not outside and not any(hop.masked for hop in decision.hops):
        return
    if remask(run, always=True):
        if run.vault is not None and run.vault.by_mark:
            run.decision = replace(decision, cache=None, hops=_quoted(run, decision.hops))
        return
    hops = tuple(hop for hop in decision.hops if not hop.masked)
    shadows = tuple(s for s in decision.shadows if s not in outside)
    run.decision = replace(decision, hops=hops, shadows=shadows)
    if not hops:
        kinds = ", ".join(sorted(run.facts.found)) if run.facts else ""
        raise ResidencyUnavailable(
            f"Rule {decision.rule!r} lets only masked text leave, and this request can't be masked whole"
            + (f" (found: {kinds})." if kinds else ".")
            + " Send it without what has no place in a text, or to a workload that is answered at home.",
            retry_after_s=60,
        )


def _quoted(run: Run, hops: tuple[PlannedHop, ...]) -> tuple[PlannedHop, ...]:
    """Placeholders may be longer than what they stand for: the reservation covers the longer text."""
    assert run.masked is not None
    if len(run.masked.raw) <= len(run.request.raw):
        return hops
    worst = quote.worst_cases(run.masked, run.candidates)
    return tuple(
        replace(hop, worst_case_nusd=max(hop.worst_case_nusd, worst.get(hop.deployment, 0)))
        if hop.masked
        else hop
        for hop in hops
    )


def remask(run: Run, *, always: bool = False) -> bool:
    """Mask the run's request as it is now, if it was masked before or `always`. False: it can't be."""
    if run.masked is None and not always:
        return True
    request = run.request
    made: Masked | None = mask_body(request.body, run.world.dictionaries.get(request.key.lob, NOTHING))
    if made is None:
        run.masked, run.vault = None, None
        return False
    raw = orjson.dumps(made.body)
    run.masked = replace(request, body=made.body, raw=raw, stuck=request.sticky)
    run.vault = made.vault
    return True


def given_back(run: Run, sent: GatewayRequest, completion: Completion) -> Completion:
    """The answer to what was sent, with values where placeholders stand."""
    if sent is run.request or run.vault is None:
        return completion
    return unmask_completion(completion, run.vault, json_answer=shapes.wants_json(run.request))


def unmasker_for(run: Run, sent: GatewayRequest) -> StreamUnmasker | None:
    """For the stream that answers what was sent; None where nothing was masked."""
    if sent is run.request or run.vault is None:
        return None
    return StreamUnmasker(run.vault, json_answer=shapes.wants_json(run.request))
