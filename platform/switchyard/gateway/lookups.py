"""The reading endpoints: models, decisions, and feedback on them."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.db import OperationalError
from redis import asyncio as redis
from redis.exceptions import RedisError

from costs.admission import RedisAdmission
from costs.fresh import fresh_event
from routing.contracts import KeyInfo, Snapshot
from routing.selectors.decisions import explain, record_of
from switchyard.core.errors import InvalidRequest, ModelNotFound, NotFound, Unavailable
from switchyard.gateway.feedback import feedback_event


def list_models(key: KeyInfo, world: Snapshot) -> dict[str, Any]:
    """The key's workloads first, then the deployments that its line of business may name, then versions that were tuned."""
    workloads = [
        _model(w.name, "workload", task=w.task, tier=w.tier)
        for w in world.workloads.values()
        if w.lob == key.lob
    ]
    deployments = [
        _model(d.name, "deployment", tasks=sorted(d.tasks), side=d.side)
        for d in world.deployments.values()
        if not d.lobs or key.lob in d.lobs
    ]
    tuned = [
        _model(v.name, "version", workload=v.workload, deployment=v.deployment)
        for v in world.versions.values()
        if v.workload in world.workloads and world.workloads[v.workload].lob == key.lob
    ]
    return {"object": "list", "data": workloads + deployments + tuned}


def retrieve_model(name: str, key: KeyInfo, world: Snapshot) -> dict[str, Any]:
    for model in list_models(key, world)["data"]:
        if model["id"] == name:
            return model
    raise ModelNotFound(f"There is no model {name[:100]!r} for this key.", param="model")


def _model(name: str, kind: str, **facts: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "switchyard", "kind": kind} | facts


async def show_decision(decision_id: str, key: KeyInfo, fresh: redis.Redis) -> dict[str, Any]:
    return explain(await _find(decision_id, key, fresh))


async def give_feedback(
    body: dict[str, Any], key: KeyInfo, world: Snapshot, admission: RedisAdmission, fresh: redis.Redis
) -> dict[str, Any]:
    decision_id = body.get("decision_id")
    if not isinstance(decision_id, str) or not decision_id:
        raise InvalidRequest(
            "`decision_id` is missing: it is in the header x-switchyard-decision-id.", param="decision_id"
        )
    event = feedback_event(body, await _find(decision_id, key, fresh), key, world)
    await admission.publish(event)
    return {
        "object": "feedback", "decision_id": decision_id, "index": event["index"], "correct": event["correct"],
        "score": event["score"],
    }  # fmt: skip


async def _find(decision_id: str, key: KeyInfo, fresh: redis.Redis) -> dict[str, Any]:
    """The decision's event while it is fresh, its record later; a neighbour's is as unknown as none."""
    event = await _fresh(decision_id, fresh)
    if event is not None and (event["lob"] != key.lob or event["organisation_id"] != key.organisation_id):
        event = None
    elif event is None:
        try:
            event = await sync_to_async(record_of)(decision_id, key.organisation_id, key.lob)
        except OperationalError:
            raise Unavailable("The database can't be reached. Try again shortly.", retry_after_s=5) from None
    if event is None:
        raise NotFound(f"There is no decision {decision_id[:60]!r} of this line of business.")
    return event


async def _fresh(decision_id: str, fresh: redis.Redis) -> dict[str, Any] | None:
    try:
        return await fresh_event(fresh, decision_id)
    except (RedisError, OSError):
        return None  # the record is in the database within two seconds
