"""What a usage event says, as rows of the books. Pure but for the columns' order, which is the models'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from costs.books.sanity import (
    MAX_ACCELERATOR_NS,
    MAX_COST_NUSD,
    check_amounts,
    check_names,
    check_span,
    check_whole,
    plausible,
)
from costs.books.writing import ATTEMPTS, ENTRIES
from costs.ledger import credit_account, expense_account
from costs.models import LEGS, PURPOSES, QUANTITIES, Attempt
from switchyard.core.bulk import Row

Event = Mapping[str, Any]
_LEGS = frozenset(LEGS)
_NO_LEGS = {f"{leg}_nusd": 0 for leg in (*LEGS, "saved_cache", "saved_batch")}
_quantities = itemgetter(*QUANTITIES)
_SMALL, _MANY = 32_767, 2_000_000_000
_MONEY = (0, MAX_COST_NUSD)
_WHOLE: dict[str, tuple[int, int]] = {
    "attempt": (0, _SMALL), "revision": (0, _SMALL), "answers": (0, _MANY), "organisation_id": (0, 2**63 - 1),
    "accelerator_ns": (0, MAX_ACCELERATOR_NS), **{f"{leg}_nusd": _MONEY for leg in LEGS},
    **{f"saved_{what}_nusd": (-MAX_COST_NUSD, MAX_COST_NUSD) for what in ("cache", "batch")},
}  # fmt: skip
_TEXTS = ("request_id", "lob", "application", "key_id", "workload", "deployment", "model", "node", "upstream_id", "status",
          "price_version")  # fmt: skip
_LENGTHS = {name: int(Attempt._meta.get_field(name).max_length or 0) for name in _TEXTS}  # type: ignore[union-attr]
_WORDS = {
    "purpose": frozenset(PURPOSES),
    "usage_source": frozenset({"reported", "estimated"}),
    "origin": frozenset({"live", "demonstration", "job"}),
}
_OWN = ("request_id", "upstream_id")  # of one call alone
_OWN_LENGTHS = {name: _LENGTHS[name] for name in _OWN}
_figures = itemgetter(*_WHOLE)
_names = itemgetter(*(name for name in _TEXTS if name not in _OWN), *_WORDS)
KNOWN_NAMES = 10_000
_known_names: set[tuple[str, ...]] = set()  # combinations that were looked at
attempt_row, _transfer_row = itemgetter(*ATTEMPTS.columns), itemgetter(*ENTRIES.columns)


def answering(event: Event, told: Sequence[Event]) -> int | None:
    """Index of the last good attempt of the deployment that answered; None when nobody did."""
    for index in range(len(told) - 1, -1, -1):
        item = told[index]
        if item["deployment"] == event.get("deployment") and item.get("status") != "error":
            return index
    return None


def attempt_values(event: Event, item: Event, answered: bool) -> dict[str, Any]:
    """A row of ATTEMPTS by column, less its time. ValueError for what can't be true."""
    cost, side, get = item["cost_nusd"], item["side"], item.get
    if side not in ("private", "external"):
        raise ValueError(f"side {side!r}")
    values = {
        **_NO_LEGS,
        "request_id": event["request_id"],
        "attempt": get("attempt", 0),
        "revision": get("revision", 0),
        "superseded": False,
        "organisation_id": event["organisation_id"],
        "lob": event["lob"],
        "application": event.get("application", ""),
        "key_id": event.get("key_id", ""),
        "workload": event.get("workload", ""),
        "deployment": item["deployment"],
        "side": side,
        "model": get("model", ""),
        "node": get("node") or "",
        "purpose": event.get("purpose", "answer"),
        "upstream_id": get("upstream_id", ""),
        "status": get("status", "ok"),
        "tokens_in": get("tokens_in", 0),
        "tokens_out": get("tokens_out", 0),
        "cached_tokens_in": get("cached_tokens_in", 0),
        "cache_write_tokens": get("cache_write_tokens", 0),
        "reasoning_tokens": get("reasoning_tokens", 0),
        "audio_tokens_in": get("audio_tokens_in", 0),
        "audio_tokens_out": get("audio_tokens_out", 0),
        "searches": get("searches", 0),
        "accelerator_ns": get("accelerator_ns", 0),
        "duration_ms": get("duration_ms", 0.0),
        "batch": bool(get("batch")),
        "usage_source": get("usage_source", "reported"),
        "price_version": get("price_version", ""),
        "cost_nusd": cost,
        "other_side_cost_nusd": event.get("other_side_cost_nusd") if answered else None,
        "answered": answered,
        "answers": event.get("answers", 0) if answered else 0,
        "origin": event.get("origin", "live"),
    }
    quantities = _quantities(values)
    if not plausible(cost, quantities):
        check_amounts(cost_nusd=cost, **dict(zip(QUANTITIES, quantities, strict=True)))
    check_span("duration_ms", values["duration_ms"], MAX_ACCELERATOR_NS / 1e6)
    _add_legs(values, item, cost)
    _check(values)
    if values["other_side_cost_nusd"] is not None:
        check_whole(values, {"other_side_cost_nusd": _MONEY})
    return values


def _check(values: Mapping[str, Any]) -> None:
    """Figures within their bounds, names as long as their columns: by a look that is enough for nearly all of them, since
    figures are seldom large and names come again and again; else one by one."""
    figures = _figures(values)
    usual = set(map(type, figures)) == {int} and min(figures) >= 0 and max(figures) <= _MANY
    if not usual or values["attempt"] > _SMALL or values["revision"] > _SMALL:
        check_whole(values, _WHOLE)
    names = _names(values)
    if names in _known_names:
        check_names(values, _OWN_LENGTHS, {})
        return
    check_names(values, _LENGTHS, _WORDS)
    if len(_known_names) >= KNOWN_NAMES:
        _known_names.clear()
    _known_names.add(names)


def _add_legs(values: dict[str, Any], item: Event, cost: int) -> None:
    """The parts that the gateway told; an event that tells none has one. ValueError when they don't sum to the cost."""
    legs = item.get("legs") or {"compute" if item["side"] == "private" else "input": cost}
    if sum(legs.values()) != cost or not legs.keys() <= _LEGS:
        raise ValueError(f"legs {legs} of a cost of {cost}")
    for leg, amount in legs.items():
        values[f"{leg}_nusd"] = amount
    for what, amount in (item.get("saved") or {}).items():
        if what in ("cache", "batch"):
            values[f"saved_{what}_nusd"] = amount


def transfer_row(values: Mapping[str, Any], recorded_at: str, memo: str, job_id: str = "") -> Row:
    """The transfer of an attempt, as a row of ENTRIES."""
    if values["usage_source"] != "reported":
        memo = f"{values['usage_source']}; {memo}" if memo else values["usage_source"]
    entry = {
        "event_id": f"{values['request_id']}/{values['attempt']}/{values['revision']}",
        "organisation_id": values["organisation_id"],
        "at": values["at"],
        "recorded_at": recorded_at,
        "debit": expense_account(values["lob"]),
        "credit": credit_account(values["side"], values["deployment"], values["node"]),
        "amount_nusd": values["cost_nusd"],
        "lob": values["lob"],
        "application": values["application"],
        "key_id": values["key_id"],
        "workload": values["workload"],
        "purpose": values["purpose"],
        "request_id": values["request_id"],
        "attempt": values["attempt"],
        "job_id": job_id,
        "memo": memo,
        "price_version": values["price_version"],
        "reverses_id": None,
        "origin": values["origin"],
    }
    return _transfer_row(entry)
