"""What a version of a policy would decide, for facts or for a request that nobody sends. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from costs import pricing
from routing import quote
from routing.contracts import Decision, DeploymentInfo, Facts, GatewayRequest, KeyInfo, Snapshot
from routing.inspection.collect import inspect
from routing.intake.parsing import parse
from routing.intake.resolve import TASKS
from routing.models import Policy
from routing.pipeline import Live
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout, decision_as_json
from routing.policy.facts import FactError, whole
from routing.policy.rules import Document
from routing.policy.said import _
from routing.policy.views import chances_told
from routing.selectors.learned import learned_of
from routing.selectors.policies import document_of
from routing.selectors.world import snapshot_of
from switchyard.core.clock import now_ns
from switchyard.core.errors import InvalidRequest, NotFound, ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.models import LineOfBusiness, Organisation, Workload
from switchyard.tenancy.querysets import Scope

USUAL_BYTES = 400  # facts carry no text: worst cases are those of a message of this size


@dataclass(frozen=True, slots=True)
class Trial:
    """`live`: what the versions now live decide for the same."""

    facts: Facts
    decision: Decision
    live: Decision
    world: Snapshot

    def as_json(self) -> dict[str, Any]:
        """As REST answers; costs in dollars."""
        shown = _shown(self.decision, self.facts, self.world)
        return shown | {"live": _shown(self.live, self.facts, self.world)}


def try_text(
    *,
    workload: Workload,
    text: str = "",
    sensitivity: str = "",
    wish: str = "",
    draft: Policy | None = None,
    unsaved: Document | None = None,
) -> Trial:
    """The decision for one text of a workload, by the live policies or with `draft` in place of its scope's.

    `sensitivity` is what a caller would declare; it can only raise the class. `unsaved`: a document to try as the draft's.
    Raises InvalidRequest for an unknown class.
    """
    world = snapshot_of(workload.organisation)
    info, lob = world.workloads[workload.name], workload.lob.slug
    body = {"model": wish or workload.name, "input": [text]}
    request = GatewayRequest(
        request_id="trial", decision_id="trial", key=_key(world, lob), endpoint="", task=info.task, body=body,
        raw=orjson.dumps(body), received_ns=now_ns(), workload=info, wish=wish, declared_sensitivity=sensitivity,
    )  # fmt: skip
    live: Any = world.policies
    compiled = _with(draft, live, lob, unsaved) if draft else live
    facts = inspect(request, world, Live())
    candidates = quote.candidates_for(request, world.deployments.values())
    worst = quote.worst_cases(request, candidates)
    return _decided(compiled, live, request, facts, candidates, worst, world)


def _decided(
    compiled: CompiledPolicies,
    live: CompiledPolicies,
    request: GatewayRequest,
    facts: Facts,
    candidates: list[DeploymentInfo],
    worst: Mapping[str, int],
    world: Snapshot,
) -> Trial:
    lob = request.key.lob
    tried, now_live = (
        c.decide(
            facts,
            candidates,
            lob=lob,
            worst_case=worst,
            scores=_chances(c, request, facts, candidates, world),
        )
        for c in (compiled, live)
    )
    return Trial(facts, tried, now_live, world)


def _chances(
    policies: CompiledPolicies,
    request: GatewayRequest,
    facts: Facts,
    candidates: list[DeploymentInfo],
    world: Snapshot,
) -> Mapping[str, float] | None:
    """As the pipeline asks for them, where these policies choose by them; a draft may be the first that does."""
    lob = world.lobs.get(request.key.lob)
    learned = learned_of(world.organisation_id, policies, [request.key.lob])
    if learned is None or lob is None:
        return None
    keeps = lob.keep_text and policies.keeps(facts, "training")
    told = learned.ask(request, facts, candidates, keeps_text=keeps)
    return told.chances if told is not None else None


def _key(world: Snapshot, lob: str) -> KeyInfo:
    """A key that nobody holds."""
    return KeyInfo(
        id="trial", digest="", organisation=world.organisation, organisation_id=world.organisation_id, lob=lob,
        application="", expires_ns=0,
    )  # fmt: skip


def try_policy(policy: Policy, data: Any, scope: Scope, *, unsaved: Document | None = None) -> dict[str, Any]:
    """The decision of this version, with the other scope's live one, on the deployments as they are now.

    `data`: {"facts": some of the facts, nested} or {"request": {"endpoint", "body", "lob"}}. Facts that move by
    themselves (queue, budget) count as quiet unless they are given. `live` in the answer: what the versions now live
    would decide for the same. `unsaved`: a document to try in place of the version's. Nothing of the request is kept.
    Raises ValidationFailed, InvalidRequest, NotFound.
    """
    if not isinstance(data, Mapping) or len(data) != 1 or not set(data) <= {"facts", "request"}:
        raise _fault("", _('Send exactly one of {"facts": …} or {"request": {"endpoint", "body", "lob"}}.'))
    world = snapshot_of(policy.organisation)
    if "facts" in data:
        facts, lob = _facts_given(policy, data["facts"], world, scope)
        request = _textless(facts, lob, world)
        candidates = _able(world, facts.values["workload"]["task"])
        worst = _worst_cases(facts, candidates)
    else:
        request = _request_given(policy, data["request"], world, scope)
        facts, lob = inspect(request, world, Live()), request.key.lob
        candidates = quote.candidates_for(request, world.deployments.values())
        worst = quote.worst_cases(request, candidates)
    live: Any = world.policies
    compiled = _with(policy, live, lob, unsaved)
    return _decided(compiled, live, request, facts, candidates, worst, world).as_json()


def _textless(facts: Facts, lob: str, world: Snapshot) -> GatewayRequest:
    """What facts alone say of a request: there is no prompt, so chances that need one aren't known."""
    workload = facts.values["workload"]
    return GatewayRequest(
        request_id="trial", decision_id="trial", key=_key(world, lob), endpoint="", task=workload["task"], body={}, raw=b"",
        received_ns=now_ns(), workload=world.workloads.get(workload["name"]),
    )  # fmt: skip


def _fault(path: str, message: str) -> ValidationFailed:
    where = {"path": path, "line": None, "column": None, "message": message}
    return ValidationFailed(_("There is nothing to decide for this."), [where])


def _lob_of(policy: Policy, named: Any, scope: Scope, world: Snapshot, path: str) -> str:
    """The line of business tried for: the policy's own, or the one named. NotFound when the asker may not see it."""
    if not isinstance(named, str):
        raise _fault(path, _("Name a line of business by its slug."))
    if named and (named not in world.lobs or not scope.allows_lob(named)):
        raise NotFound(_("There is no line of business %(name)s.") % {"name": repr(named[:63])}, param=path)
    own = policy.lob.slug if policy.lob else ""
    if own and named not in ("", own):
        told = {"own": own, "named": named}
        raise _fault(path, _("This policy is %(own)s's: it decides nothing for %(named)s.") % told)
    return named or own


def _facts_given(policy: Policy, given: Any, world: Snapshot, scope: Scope) -> tuple[Facts, str]:
    if not isinstance(given, Mapping):
        raise _fault("facts", _("Expected an object of facts; GET policies/facts lists them."))
    try:
        values = whole(given)
    except FactError as error:
        raise _fault(f"facts.{error.path}", error.message) from None
    workload = world.workloads.get(values["workload"]["name"])
    if workload is not None and scope.allows_lob(workload.lob):
        known = {"task": workload.task, "tier": workload.tier, "sensitivity": workload.sensitivity}
        _fill(values["workload"], given.get("workload"), known)
        _fill(values["lob"], given.get("lob"), {"slug": workload.lob})
    # The class of the data is at least that of the workload, unless it is said outright.
    _fill(values["data"], given.get("data"), {"sensitivity": values["workload"]["sensitivity"]})
    lob = _lob_of(policy, values["lob"]["slug"], scope, world, "facts.lob.slug")
    values["lob"]["slug"] = lob
    return Facts(values), lob


def _fill(group: dict[str, Any], given: Any, known: Mapping[str, Any]) -> None:
    said = given if isinstance(given, Mapping) else {}
    group.update({name: value for name, value in known.items() if name not in said})


def _able(world: Snapshot, task: str) -> list[DeploymentInfo]:
    """A task that nobody named rules nobody out."""
    targets = list(world.deployments.values())
    return targets if task else [replace(target, tasks=target.tasks | {""}) for target in targets]


def _worst_cases(facts: Facts, candidates: list[DeploymentInfo]) -> dict[str, int]:
    request, workload = facts.values["request"], facts.values["workload"]
    generates = workload["task"] in ("chat", "completion")
    return {
        d.name: pricing.worst_case(
            prices=d.prices, rate=d.rate, text_bytes=request["tokens_in"] * 4 or USUAL_BYTES,
            max_tokens=(request["max_tokens"] or d.max_output_tokens) if generates else 64, n=1, answers=1,
            usual_accelerator_ns=d.usual_accelerator_ns.get(workload["name"]), duration_ns=quote.LONGEST_CALL_NS,
        )
        for d in candidates
        if d.billable
    }  # fmt: skip


def _request_given(policy: Policy, given: Any, world: Snapshot, scope: Scope) -> GatewayRequest:
    if not isinstance(given, Mapping) or set(given) - {"endpoint", "body", "lob"}:
        raise _fault("request", _("Expected {endpoint, body, lob}."))
    endpoint, body = given.get("endpoint"), given.get("body")
    endpoint = endpoint.strip("/").removeprefix("v1/") if isinstance(endpoint, str) else ""
    if endpoint not in TASKS:
        raise _fault("request.endpoint", _("Expected one of %(names)s.") % {"names": ", ".join(TASKS)})
    if not isinstance(body, dict):
        raise _fault("request.body", _("Expected the JSON object that would be sent."))
    lob = _lob_of(policy, given.get("lob", ""), scope, world, "request.lob")
    if not lob:
        raise _fault("request.lob", _("Name the line of business whose key would send it."))
    try:
        raw = orjson.dumps(body)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(
            _("The body can't be sent as JSON: %(why)s.") % {"why": str(error)}, param="request.body"
        ) from None
    return parse(
        endpoint=endpoint, raw=raw, body=body, headers={}, key=_key(world, lob), world=world, request_id="trial",
        decision_id="trial", received_ns=now_ns(),
    )  # fmt: skip


def _with(policy: Policy, live: Any, lob: str, unsaved: Document | None = None) -> CompiledPolicies:
    """The live policies with this version in its place, for all of the traffic."""
    compiled: CompiledPolicies = live
    rollout = Rollout(unsaved or document_of(policy))
    if policy.lob_id is None:
        return replace(compiled, organisation=rollout)
    return replace(compiled, lobs={**compiled.lobs, lob: rollout})


def unsaved_version(
    organisation: Organisation, lob: LineOfBusiness | None, document: str
) -> tuple[Policy, Document]:
    """A document as a version that nobody saved, read but not proven. Raises ValidationFailed for what can't be read."""
    label = f"{lob.slug if lob else 'org'}@draft"
    parsed = parse_document(document, organisation=lob is None, label=label)
    return Policy(id="", organisation=organisation, lob=lob, version=0, document=document), parsed


def _shown(decision: Decision, facts: Facts, world: Snapshot) -> dict[str, Any]:
    """Costs in dollars; `deployment` and `route` are those of the first hop."""
    out = decision_as_json(decision)
    for hop in out["hops"]:
        hop["side"] = world.deployments[hop["deployment"]].side
        hop["worst_case_usd"] = format_usd(hop.pop("worst_case_nusd"))
    for candidate in out["candidates"]:
        cost = candidate.pop("cost_nusd")
        candidate["cost_usd"] = None if cost is None else format_usd(cost)
    learned = chances_told(decision.candidates)
    if learned is not None:
        for candidate in out["candidates"]:
            candidate |= learned["by"][candidate["deployment"]] | {"threshold": learned["threshold"]}
    out["learned"] = learned is not None
    cap = decision.max_cost_nusd
    out["max_cost_usd"] = None if cap is None else format_usd(cap)
    out["guards"], out["mask"] = list(decision.guards), decision.mask
    first = out["hops"][0] if out["hops"] else {"deployment": "", "side": ""}
    return out | {"deployment": first["deployment"], "route": first["side"], "facts": facts.values}
