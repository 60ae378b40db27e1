"""Live monitors of bias: what came since the last look is bet on, once; who stands out is told of, once.

Signals exist where something honest is known: a probe's flips by the kind of group a text names, answers withheld, answers
judged wrong by feedback. Nobody's group is guessed, of a person nothing is known, and a cell under twenty is not shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from modelhub.ml.fairness import live
from routing.models import BiasMark, BiasMonitor, DecisionRecord, Feedback
from switchyard.core.clock import now

FLIP_LIMIT = 0.05
SMALLEST_CELL = 20
AT_ONCE = 5000  # decisions a look: what is more waits for the next
SETTLED = timedelta(seconds=30)  # a decision younger than this may still have an older one on its way
NOBODY = ""  # the axis of texts that name no group
Key = tuple[str, str, str, str, str, str]  # lob, workload, deployment, model, signal, axis


@transaction.atomic
def watch(organisation_id: int) -> int:
    """Read what is new and move every monitor; gives how many decisions and feedbacks were read. Safe to run twice."""
    mark, _created = BiasMark.objects.select_for_update().get_or_create(organisation_id=organisation_id)
    decisions = list(_new_decisions(organisation_id, mark.decision_id))
    feedback = list(
        Feedback.objects.filter(organisation_id=organisation_id, pk__gt=mark.feedback_id, correct__isnull=False, origin="live")
        .order_by("pk")[:AT_ONCE]
    )  # fmt: skip
    seen: dict[Key, list[Any]] = defaultdict(list)
    for row in decisions:
        _from_decision(row, seen)
    _from_feedback(organisation_id, feedback, seen)
    for key, outcomes in sorted(seen.items()):
        _move(organisation_id, key, outcomes)
    if decisions:
        mark.decision_id = decisions[-1]["id"]
    if feedback:
        mark.feedback_id = feedback[-1].pk
    mark.save()
    return len(decisions) + len(feedback)


def _new_decisions(organisation_id: int, after: str) -> Iterable[dict[str, Any]]:
    """In the order of their ids, which is that of time."""
    rows = DecisionRecord.objects.filter(
        organisation_id=organisation_id, pk__gt=after, origin="live", at__lte=now() - SETTLED
    ).exclude(deployment="")
    names = ("id", "lob", "workload", "deployment", "model", "guard_verdict", "detail__guard")
    return rows.order_by("pk").values(*names)[:AT_ONCE]


def _from_decision(row: Mapping[str, Any], seen: dict[Key, list[Any]]) -> None:
    guard = row["detail__guard"] or {}
    who = (row["lob"], row["workload"], row["deployment"], row["model"])
    for axis, (probed, flipped) in sorted((guard.get("probed") or {}).items()):
        seen[(*who, "flip", axis)] += [True] * flipped + [False] * (probed - flipped)
    named = guard.get("named")
    if named is not None:
        found = bool(guard.get("kind")) and guard.get("kind") != "guard_unavailable"
        for axis in named or [NOBODY]:
            seen[(*who, "withheld", axis)].append(found)


def _from_feedback(organisation_id: int, feedback: list[Feedback], seen: dict[Key, list[Any]]) -> None:
    """Wrong answers by what the text named; only where one answer was given, so that it is clear whose it is."""
    wanted = {row.decision_id for row in feedback}
    rows = DecisionRecord.objects.filter(organisation_id=organisation_id, pk__in=wanted, answers=1)
    by_id = {
        row["id"]: row
        for row in rows.values(
            "id", "lob", "workload", "deployment", "model", "detail__guard", "detail__task"
        )
    }
    for told in feedback:
        row = by_id.get(told.decision_id)
        guard = (row or {}).get("detail__guard") or {}
        if row is None or guard.get("mode", "off") == "off" or row["detail__task"] != "classification":
            continue  # where the probe didn't look, "names nobody" isn't known
        who = (row["lob"], row["workload"], row["deployment"], row["model"])
        for axis in sorted(guard.get("probed") or {}) or [NOBODY]:
            seen[(*who, "wrong", axis)].append(not told.correct)


def _move(organisation_id: int, key: Key, outcomes: list[Any]) -> None:
    """A monitor of a group's own; what names nobody goes to every monitor of its kind as the rest."""
    lob, workload, deployment, model, signal, axis = key
    where = {
        "organisation_id": organisation_id, "lob": lob, "workload": workload, "deployment": deployment, "model": model,
        "signal": signal,
    }  # fmt: skip
    if axis == NOBODY:
        rows = list(BiasMonitor.objects.filter(**where))
        member = False
    else:
        rows = [BiasMonitor.objects.get_or_create(**where, axis=axis)[0]]
        member = True
    for row in rows:
        _look(row, outcomes, member)


def _look(row: BiasMonitor, outcomes: list[bool], member: bool) -> None:
    """One look: the new outcomes are bet on, and what was refuted or has changed is told of."""
    if row.signal == "flip":
        above = _watch_of(row.state, live.Above(FLIP_LIMIT))
        above.see(outcomes)
        row.state, row.n, row.rate, row.e_value = (
            live.as_state(above),
            above.n,
            above.rate,
            above.bettor.e_value,
        )
        refuted = above.bettor.refuted()
    else:
        pair = _watch_of(row.state, live.Difference())
        pair.see((member, outcome) for outcome in outcomes)
        row.state, (row.n_rest, row.n) = live.as_state(pair), pair.n
        row.rate = pair.hits[1] / pair.n[1] if pair.n[1] else None
        row.rate_rest = pair.hits[0] / pair.n[0] if pair.n[0] else None
        row.e_value, refuted = pair.bettor.e_value, pair.bettor.refuted()
    if member:
        cusum = _watch_of(row.change, live.Cusum())
        cusum.see(outcomes)
        row.change = live.as_state(cusum)
        if cusum.changed_at is not None and row.changed_at is None:
            row.changed_at = now()
            _tell(row, _("changed"))
    row.looks, row.seen_at = row.looks + 1, now()
    if refuted and row.alarmed_at is None and row.n >= SMALLEST_CELL:
        row.alarmed_at = now()
        _tell(row, _("stands out"))
    row.save()


def _watch_of(state: dict[str, Any], fresh: Any) -> Any:
    return live.from_state(state) if state else fresh


def _tell(row: BiasMonitor, what: str) -> None:
    """People hear of it with counts and rates, of no text and no person."""
    rate = f"{row.rate or 0:.1%}"
    beside = f", {row.rate_rest:.1%} otherwise" if row.rate_rest is not None else f", limit {FLIP_LIMIT:.0%}"
    raise_alert(
        organisation_id=row.organisation_id, kind="bias", lob=row.lob, subject=f"{row.workload or row.deployment}: {row.axis}",
        message=_("%(signal)s by %(axis)s %(what)s on %(deployment)s (%(model)s): %(rate)s%(beside)s, n %(n)d.") % {
            "signal": row.signal, "axis": row.axis, "what": what, "deployment": row.deployment, "model": row.model or "–",
            "rate": rate, "beside": beside, "n": row.n,
        },
        cause=_("Evidence by betting, %(e).0f to 1; look at the page Bias.") % {"e": min(row.e_value, 1e9)},
        unique_key=f"bias:{row.pk}:{'changed' if row.changed_at and not row.alarmed_at else 'alarm'}",
    )  # fmt: skip
