"""What `model` means on /v1: a workload of the key's LOB, `auto`, or a deployment as a wish."""

from __future__ import annotations

from dataclasses import dataclass

from routing.contracts import KeyInfo, Snapshot, VersionInfo, WorkloadInfo
from routing.policy.engine import can_do
from switchyard.core.errors import InvalidRequest, ModelNotFound
from switchyard.core.quick import quick

# Tasks that an endpoint can serve; its own comes first.
TASKS = {
    "chat/completions": ("chat", "classification", "prediction"),
    "completions": ("completion", "chat"),
    "embeddings": ("embedding",),
    "classifications": ("classification",),
    "predictions": ("prediction",),
    "moderations": ("moderation",),
}
ANY_MODERATION = ("", "auto", "omni-moderation-latest", "text-moderation-latest", "text-moderation-stable")
ENDPOINT_OF = {"chat": "chat/completions", "completion": "completions", "embedding": "embeddings",
               "classification": "classifications", "prediction": "predictions",
               "moderation": "moderations"}  # fmt: skip


@quick
@dataclass(frozen=True, slots=True)
class Resolved:
    task: str
    workload: WorkloadInfo | None
    wish: str = ""
    version: VersionInfo | None = None


def resolve(model: object, endpoint: str, key: KeyInfo, world: Snapshot) -> Resolved:
    """Raises InvalidRequest (no or ambiguous model, wrong endpoint) or ModelNotFound (unknown or foreign)."""
    if not isinstance(model, str):
        return _resolve(model, endpoint, key, world)
    asked = ("resolved", endpoint, key.lob, model)
    known = world.memo.get(asked)
    if known is None:  # only what was found is kept, so there are no more of them than models
        known = world.memo[asked] = _resolve(model, endpoint, key, world)
    return known  # type: ignore[no-any-return]


def _resolve(model: object, endpoint: str, key: KeyInfo, world: Snapshot) -> Resolved:
    if endpoint == "moderations" and (model is None or model in ANY_MODERATION):
        return _moderation(key, world)
    if not isinstance(model, str) or not model:
        raise InvalidRequest("`model` is missing: name a workload, a deployment, or `auto`.", param="model")
    tasks = TASKS[endpoint]
    workload = world.workloads.get(model)
    if workload is not None and workload.lob == key.lob:
        if workload.task not in tasks:
            right = ENDPOINT_OF.get(workload.task, workload.task)
            raise InvalidRequest(
                f"{model} is for {workload.task}: call /v1/{right}.",
                param="model",
                code="wrong_endpoint",
            )
        return Resolved(_task(endpoint, workload.task), workload)
    if model == "auto":
        only = _only(endpoint, key, world)
        if only is None:
            raise InvalidRequest(
                f"There is no {tasks[0]} workload to choose: name a deployment.", param="model"
            )
        return Resolved(_task(endpoint, only.task), only)
    version = world.versions.get(model)
    if version is not None:
        return _version(version, endpoint, key, world)
    target = world.deployments.get(model)
    if target is None or (target.lobs and key.lob not in target.lobs):
        raise ModelNotFound(
            f"There is no model {model[:100]!r} for this key. GET /v1/models lists what there is.",
            param="model",
        )
    task = next((t for t in tasks if can_do(target, t)), None)
    if task is None:
        raise InvalidRequest(f"{model} does not do {tasks[0]}.", param="model", code="wrong_endpoint")
    if endpoint == "chat/completions" and task != "chat":
        return Resolved(task, _asked_by(model, task, key, world), wish=model)
    return Resolved(task, _only(endpoint, key, world), wish=model)


def _moderation(key: KeyInfo, world: Snapshot) -> Resolved:
    """The official clients name no model, or one of OpenAI's: the application's only moderation workload, else the first
    deployment that judges texts, one of ours before others."""
    only = _only("moderations", key, world)
    if only is not None:
        return Resolved("moderation", only)
    able = [
        d for d in world.deployments.values() if can_do(d, "moderation") and (not d.lobs or key.lob in d.lobs)
    ]
    if not able:
        raise ModelNotFound(
            "No deployment judges texts for this key: give one the task moderation.", param="model"
        )
    return Resolved("moderation", None, wish=min(able, key=lambda d: (d.side != "private", d.name)).name)


def _asked_by(model: str, task: str, key: KeyInfo, world: Snapshot) -> WorkloadInfo:
    """The key's only workload of the task: what a model of labels or numbers is asked for, a conversation doesn't say."""
    found = sorted(w.name for w in world.workloads.values() if w.lob == key.lob and w.task == task)
    if len(found) != 1:
        raise InvalidRequest(
            f"{model} is for {task}: name the workload instead ({', '.join(found) or 'this key has none'}).",
            param="model",
        )
    return world.workloads[found[0]]


def _version(version: VersionInfo, endpoint: str, key: KeyInfo, world: Snapshot) -> Resolved:
    """A version that a job made: its workload must be the key's, and policy decides about its deployment as for a wish."""
    workload = world.workloads.get(version.workload)
    if workload is None or workload.lob != key.lob:
        raise ModelNotFound(f"There is no model {version.name[:100]!r} for this key.", param="model")
    if workload.task not in TASKS[endpoint]:
        right = ENDPOINT_OF.get(workload.task, workload.task)
        raise InvalidRequest(
            f"{version.name} is for {workload.task}: call /v1/{right}.",
            param="model",
            code="wrong_endpoint",
        )
    return Resolved(_task(endpoint, workload.task), workload, version.deployment, version)


def _task(endpoint: str, task: str) -> str:
    """Text completions of a chat workload are a task of their own for the servers."""
    return "completion" if endpoint == "completions" else task


def _only(endpoint: str, key: KeyInfo, world: Snapshot) -> WorkloadInfo | None:
    """The only workload for the endpoint's own task; None when there is none."""
    own = "chat" if endpoint == "completions" else TASKS[endpoint][0]
    found = [w for w in world.workloads.values() if w.lob == key.lob and w.task in (own, TASKS[endpoint][0])]
    if len(found) > 1:
        names = ", ".join(sorted(w.name for w in found))
        raise InvalidRequest(f"Several workloads fit: {names}. Name one as `model`.", param="model")
    return found[0] if found else None
