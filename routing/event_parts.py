"""The parts of a request's event that are the same from one request to the next, as JSON: encoded once, put in as bytes."""

from __future__ import annotations

from typing import Any

import orjson

from costs.contracts import PriceSheet
from routing.checkpoints import KNOWN
from routing.contracts import DeploymentInfo, LobInfo, RuleTrace
from routing.kept import Kept, forgets
from routing.run import Run

_CLASSES = ("cached_input_nusd_per_munit", "cache_write_nusd_per_munit", "reasoning_nusd_per_munit")
_APART = ("audio_input_nusd_per_munit", "audio_output_nusd_per_munit", "search_nusd_per_munit")
_EXTRAS = ("call_nusd_per_munit", "second_nusd_per_munit", "minimum_nusd")
_TIER = ("above_tokens_in", "input_nusd_per_munit", "output_nusd_per_munit", *_CLASSES)
NOBODY, NO_TRACE = b'"side":"","deployment":"","prices":{},', b'"trace":[],'


class Beginnings:
    """What an event begins with: all that follows from key, workload, class and rule. One per process."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[Any, Any, bytes]] = {}
        forgets(self)

    def forget(self) -> None:
        self._known.clear()

    def of(self, run: Run, purpose: str) -> bytes:
        """`{"kind":…,"rule":…,`: as all parts here it ends with a comma."""
        request, decision = run.request, run.decision
        workload, sensitivity = request.workload, run.facts.sensitivity if run.facts else ""
        version, digest, rule = "none", "", ""
        if decision is not None:
            version, digest, rule = decision.policy_version, decision.policy_hash, decision.rule
        endpoint = request.surface or request.endpoint
        key = (
            id(request.key), id(workload), endpoint, request.task, request.stream, request.origin, sensitivity, purpose,
            version, digest, rule,
        )  # fmt: skip
        known = self._known.get(key)
        if known is not None:
            return known[2]
        if len(self._known) >= KNOWN:
            self._known.clear()
        told = {
            "kind": "usage", "origin": request.origin, "organisation_id": request.key.organisation_id,
            "lob": request.key.lob, "purpose": purpose, "application": request.key.application,
            "key_id": request.key.id, "workload": workload.name if workload else "", "task": request.task,
            "tier": workload.tier if workload else "core", "endpoint": endpoint, "stream": request.stream,
            "sensitivity": sensitivity, "policy_version": version, "policy_hash": digest, "rule": rule,
        }  # fmt: skip
        line = orjson.dumps(told)[:-1] + b","
        self._known[key] = (request.key, workload, line)  # identities stay taken while they are known
        return line


def _answered(target: DeploymentInfo) -> bytes:
    """Who answered, and the price in force then, so that the record explains its own cost."""
    told = {"side": target.side, "deployment": target.name, "prices": _priced(target)}
    return orjson.dumps(told)[1:-1] + b","


def _priced(target: DeploymentInfo) -> dict[str, Any]:
    if target.prices is not None:
        return _sheet(target.prices)
    assert target.rate is not None
    rate = target.rate
    return {
        "version": rate.version, "node": rate.node, "nusd_per_hour": rate.nusd_per_hour,
        "planned_utilisation_ppm": rate.planned_utilisation_ppm,
    }  # fmt: skip


def _sheet(sheet: PriceSheet) -> dict[str, Any]:
    """Every class that has a price of its own, in nano-dollars; a tier says from which input on it holds."""
    told: dict[str, Any] = {
        "version": sheet.version, "source": sheet.source, "input_nusd_per_munit": sheet.input_nusd_per_munit,
        "output_nusd_per_munit": sheet.output_nusd_per_munit,
    }  # fmt: skip
    told |= {name: value for name in (*_CLASSES, *_APART) if (value := getattr(sheet, name)) is not None}
    told |= {name: value for name in _EXTRAS if (value := getattr(sheet, name))}
    if sheet.batch_ppm is not None:
        told["batch_ppm"] = sheet.batch_ppm
    if sheet.tiers:
        told["tiers"] = [{n: v for n in _TIER if (v := getattr(tier, n)) is not None} for tier in sheet.tiers]
    return told


def _traced(trace: tuple[RuleTrace, ...]) -> bytes:
    told = [{"rule": t.rule, "matched": t.matched, "reason": t.reason} for t in trace]
    return b'"trace":%b,' % orjson.dumps(told)


def _unguarded(lob: LobInfo) -> orjson.Fragment:
    """What a guard reports that nobody had to make."""
    told = {
        "verdict": "pass", "mode": lob.guard_mode, "kind": "", "score": 0.0, "threshold": lob.guard_threshold, "spans": [],
    }  # fmt: skip
    return orjson.Fragment(orjson.dumps(told))


# Twenty rules that didn't match are the same twenty for every request that the next one took.
TRACES = Kept(_traced)
ANSWERED = Kept(_answered)
UNGUARDED = Kept(_unguarded)
