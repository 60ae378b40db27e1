"""Canaries: a version answers a share of its workload's traffic, is watched, and goes back or goes live.

Three sequential tests watch it against the live version over the same time: failed calls, slow calls, wrong answers by
feedback. Each may be looked at as often as one likes; together they send a harmless canary back with chance 5 % at most.
"""

from __future__ import annotations

import logging
import random
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.models import Attempt, SpendHour
from modelhub.ml.sequential import WorseTest, no_worse_by
from modelhub.models import Canary, ModelVersion
from modelhub.services.gates import rule_of
from modelhub.services.promotion import check_gates, end_canaries, promote, require_files
from modelhub.services.server_control import warm
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, InvalidRequest, SwitchyardError
from switchyard.tenancy.models import User
from switchyard.tenancy.services import bump_config

log = logging.getLogger(__name__)
ALPHA = 0.05  # false rollbacks, all tests and all looks together
TESTS = ("errors", "latency", "accuracy")
SLOW_PERCENTILE = 0.95  # of the live version's calls before the canary began: what counts as slow
SLOW_MARGIN = 1.1
LEAST_CALIBRATION = 30
MOST_READ = 20_000  # attempts a look; the rest waits for the next one
TOLERANCE = {
    "errors": 0.03,
    "latency": 0.10,
}  # how much worse it may still be, at most, when it goes live by itself


def start_canary(
    *, version: ModelVersion, user: User | None, percent: int | None = None, automatic: bool | None = None,
    least_answers: int | None = None, least_judged: int | None = None, reason: str = "",
) -> Canary:  # fmt: skip
    """Give a candidate a share of the traffic. What isn't said is as the line of business set it.

    Raises Conflict when its gates don't hold and no reason is given, when nothing is live beside it, when another canary
    runs there; InvalidRequest for a share outside 1 to 50 %.
    """
    rule = rule_of(version.workload.lob)
    percent = rule.canary_percent if percent is None else percent
    if not 1 <= percent <= 50:
        raise InvalidRequest(_("A canary takes from 1 to 50 per cent of the traffic."), param="percent")
    with transaction.atomic():
        rows = ModelVersion.objects.select_for_update(of=("self",)).select_related(
            "workload__lob", "deployment"
        )
        version = rows.get(pk=version.pk)
        if version.stage != "candidate":
            raise Conflict(
                _("Only a candidate can become a canary; this one is %(s)s.") % {"s": version.stage},
                code="illegal_state",
            )
        against = check_gates(version, user, reason)
        require_files(version)
        baseline = ModelVersion.objects.filter(
            deployment=version.deployment, workload=version.workload, stage="live"
        ).first()
        if baseline is None:
            raise Conflict(
                _("No version is live on %(name)s: a canary needs one to be held against. Promote it, and let a policy "
                  "split the traffic.") % {"name": version.deployment.name},
                code="nothing_live",
            )  # fmt: skip
        canary = _create(
            version=version, baseline=baseline, deployment=version.deployment, workload=version.workload, percent=percent,
            automatic=rule.canary_automatic if automatic is None else automatic,
            least_answers=rule.canary_answers if least_answers is None else least_answers,
            least_judged=rule.canary_judged if least_judged is None else least_judged,
            started_by=user.username if user else "system", reason=reason[:400],
        )  # fmt: skip
        canary.watch = _first_look(canary)
        canary.save(update_fields=["watch"])
        version.stage = "canary"
        version.save(update_fields=["stage"])
        _note(
            canary, "canary_started", user, percent=percent, against=baseline.version,
            gates={row.gate: row.verdict for row in against}, force_reason=reason[:300],
        )  # fmt: skip
        transaction.on_commit(lambda: warm(version))
        bump_config()
    return canary


def _create(**values: Any) -> Canary:
    try:
        with transaction.atomic():
            return Canary.objects.create(**values)
    except IntegrityError:
        raise Conflict(
            _("Another canary of this workload runs on this deployment: end that one first."),
            code="canary_runs",
        ) from None


@transaction.atomic
def stop_canary(*, canary: Canary, user: User | None, reason: str = "", state: str = "stopped") -> Canary:
    """All of the traffic goes back to the live version, with the next request. Raises Conflict when it ended already."""
    canary = (
        Canary.objects.select_for_update(of=("self",))
        .select_related("version", "workload__lob")
        .get(pk=canary.pk)
    )
    if canary.state != "running":
        raise Conflict(_("This canary ended already: %(s)s.") % {"s": canary.state}, code="illegal_state")
    end_canaries(canary.version, user, state, reason)
    canary.refresh_from_db()
    _note(canary, "canary_rolled_back" if state == "rolled_back" else "canary_stopped", user, reason=reason)
    bump_config()
    return canary


def _note(canary: Canary, action: str, user: User | None, **detail: Any) -> None:
    workload = canary.workload
    record(
        actor=user, action=f"model.{action}", target=f"version:{canary.version_id}", lob=workload.lob.slug,
        organisation_id=workload.organisation_id,
        detail={"workload": workload.name, "version": canary.version.version, "canary": canary.pk, **detail},
    )  # fmt: skip


# ------------------------------------------------------------------ watching
def watch_all() -> dict[str, int]:
    """One look at every canary; gives how many are in each state after it."""
    states: dict[str, int] = {}
    running = Canary.objects.filter(state="running").select_related(
        "version", "baseline", "workload__lob", "deployment"
    )
    for canary in running:
        try:
            state = look(canary).state
        except SwitchyardError as error:
            log.warning("canary %s could not be moved: %s", canary.pk, error.message)
            state = "running"
        states[state] = states.get(state, 0) + 1
    return states


def look(canary: Canary) -> Canary:
    """Read what was answered since the last look, then go back, go live, or go on."""
    with transaction.atomic():
        locked = Canary.objects.select_for_update(of=("self",)).select_related(
            "version", "baseline", "workload__lob", "deployment"
        )
        canary = locked.get(pk=canary.pk)
        if canary.state != "running":
            return canary
        _read(canary)
        canary.save(update_fields=["watch"])
    if worse := _worst(canary):
        return _go_back(canary, worse)
    if canary.automatic and not lacking(canary):
        said = _("%(n)d answers without harm.") % {"n": tests_of(canary)["errors"].n_new}
        promote(version=canary.version, user=None, by_itself=said, force_reason=canary.reason)
        canary.refresh_from_db()
    return canary


def tests_of(canary: Canary) -> dict[str, WorseTest]:
    kept = canary.watch.get("tests", {})
    return {name: WorseTest.from_dict(kept.get(name, {})) for name in TESTS}


def _worst(canary: Canary) -> str:
    found = [name for name, test in tests_of(canary).items() if test.refutes(ALPHA / len(TESTS))]
    return found[0] if found else ""


def lacking(canary: Canary) -> list[str]:
    """What is missing before it may go live by itself, in words; empty when the evidence is enough."""
    tests, words = tests_of(canary), []
    seen = tests["errors"].n_new + tests["errors"].waiting[0]
    if seen < canary.least_answers:
        words.append(_("%(n)d of %(wanted)d answers") % {"n": seen, "wanted": canary.least_answers})
    judged = tests["accuracy"].n_new + tests["accuracy"].waiting[0]
    if judged < canary.least_judged:
        words.append(_("%(n)d of %(wanted)d judged answers") % {"n": judged, "wanted": canary.least_judged})
    for name, most in TOLERANCE.items():
        more = at_most_worse(tests[name])
        if more > most and (name == "errors" or canary.watch.get("slow_ms")):
            told = {"name": _(name), "more": 100 * more, "most": 100 * most}
            words.append(_("%(name)s may still be %(more).1f points worse; %(most).0f are allowed") % told)
    return words


def at_most_worse(test: WorseTest) -> float:
    """How much higher its rate of bad outcomes may be than the live one's, with chance 95 % at all looks at once."""
    return no_worse_by(test, ALPHA)


def _go_back(canary: Canary, test: str) -> Canary:
    found = tests_of(canary)[test]
    words = {
        "errors": _("failed calls"), "latency": _("calls slower than %(ms).0f ms") % {"ms": canary.watch.get("slow_ms") or 0},
        "accuracy": _("wrong answers by feedback"),
    }[test]  # fmt: skip
    told = {
        "what": words, "new": 100 * found.bad_new / max(1, found.n_new), "n": found.n_new,
        "old": 100 * found.bad_old / max(1, found.n_old), "m": found.n_old, "e": min(found.e_value, 1e9),
    }  # fmt: skip
    reason = (
        _("%(what)s: %(new).1f %% of %(n)d against %(old).1f %% of %(m)d (evidence %(e).3g to 1).") % told
    )
    stopped = stop_canary(canary=canary, user=None, reason=reason, state="rolled_back")
    name = f"{canary.workload.name}@{canary.version.version}"
    raise_alert(
        organisation_id=canary.workload.organisation_id, kind="canary_rolled_back", lob=canary.workload.lob.slug, subject=name,
        message=_("The canary %(name)s was taken back by itself. %(why)s") % {"name": name, "why": reason},
        unique_key=f"canary_rolled_back:{canary.pk}", cause=test,
    )  # fmt: skip
    return stopped


# ------------------------------------------------------------------ reading
def _first_look(canary: Canary) -> dict[str, Any]:
    """Where to read from, and what counts as slow: frozen before the first answer of the canary."""
    last = Attempt.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    return {"cursor": last, "slow_ms": _slow_ms(canary), "judged": _judged(canary), "tests": {}}


def _attempts(canary: Canary) -> Any:
    workload = canary.workload
    return Attempt.objects.filter(
        organisation_id=workload.organisation_id, workload=workload.name, deployment=canary.deployment.name,
        purpose="answer", superseded=False,
    )  # fmt: skip


def _slow_ms(canary: Canary) -> float | None:
    """The live version's 95th percentile with a tenth on top; None until enough of its calls are known."""
    if canary.baseline is None:
        return None
    since = now() - timedelta(days=15)
    rows = _attempts(canary).filter(model=canary.baseline.upstream_model, status="ok", at__gte=since)
    times = sorted(rows.order_by("-pk").values_list("duration_ms", flat=True)[:2000])
    if len(times) < LEAST_CALIBRATION:
        return None
    return float(times[min(len(times) - 1, int(SLOW_PERCENTILE * len(times)))] * SLOW_MARGIN)


def _read(canary: Canary) -> None:
    watch, tests = dict(canary.watch), tests_of(canary)
    if canary.baseline is None:
        return
    if watch.get("slow_ms") is None:
        watch["slow_ms"] = _slow_ms(canary)
    names = {canary.version.upstream_model: True, canary.baseline.upstream_model: False}
    rows = _attempts(canary).filter(pk__gt=watch.get("cursor", 0), at__gte=canary.started_at, model__in=names)
    found = list(rows.order_by("pk").values_list("pk", "model", "status", "duration_ms")[:MOST_READ])
    tests["errors"].see((names[model], status == "error") for _pk, model, status, _ms in found)
    if slow := watch["slow_ms"]:
        tests["latency"].see((names[model], ms > slow) for _pk, model, status, ms in found if status == "ok")
    if found:
        watch["cursor"] = found[-1][0]
    judged, before = _judged(canary), watch.get("judged", {})
    fresh = {
        arm: [max(0, a - b) for a, b in zip(judged[arm], before.get(arm, (0, 0)), strict=True)]
        for arm in judged
    }
    (n, right), (m, well) = fresh["new"], fresh["old"]
    seed = canary.pk * 1_000_003 + sum(judged["new"]) + sum(judged["old"])
    tests["accuracy"].see(_mixed(n, n - min(n, right), m, m - min(m, well), seed))
    watch["judged"] = judged
    canary.watch = watch | {
        "tests": {name: test.as_dict() for name, test in tests.items()},
        "looked": now().isoformat(),
    }


def _judged(canary: Canary) -> dict[str, list[int]]:
    """(judged, correct) so far of both versions, from the roll-ups of the hours since it began."""
    start = canary.started_at.replace(minute=0, second=0, microsecond=0)
    rows = SpendHour.objects.filter(
        organisation_id=canary.workload.organisation_id, workload=canary.workload.name, deployment=canary.deployment.name,
        start__gte=start, purpose="answer",
    )  # fmt: skip
    sums = {
        row["model"]: [row["judged"] or 0, row["right"] or 0]
        for row in rows.values("model").annotate(judged=Sum("judged"), right=Sum("correct")).order_by()
    }
    old = canary.baseline.upstream_model if canary.baseline else ""
    return {"new": sums.get(canary.version.upstream_model, [0, 0]), "old": sums.get(old, [0, 0])}


def _mixed(n: int, bad: int, m: int, wrong: int, seed: int) -> list[tuple[bool, bool]]:
    """Outcomes that were counted together, in a random order: one that knew the outcomes would be no fair bet."""
    rows = [(True, i < bad) for i in range(n)] + [(False, i < wrong) for i in range(m)]
    random.Random(seed).shuffle(rows)
    return rows
