"""A cascade's threshold, offered: from rows that both deployments answered, by an accuracy or a cost target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Sum
from django.utils.translation import gettext as _

from costs import pricing
from costs import selectors as money
from costs.contracts import Usage
from costs.models import SpendHour
from modelhub.ml.answer_sheets import Sheet
from modelhub.models import Deployment, Evaluation
from routing.learned import cascade
from routing.learned.cascade import Answers, Goal, Honest, Point
from routing.selectors.learned import calibrations_of
from routing.services.learned_sheets import sheet_of, upstream_of
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.tenancy.models import Workload

GOALS: tuple[Goal, ...] = ("accuracy", "cost")
USUAL = {"accuracy": 0.99, "cost": 0.40}
WINDOW_DAYS = 15
ENOUGH_ROWS = 150  # under it an interval is wider than anybody decides by


@dataclass(frozen=True, slots=True)
class Offer:
    """`point` is what was chosen (None: nothing meets the target), `honest` what that way of choosing gets on rows it hadn't
    seen, `costs_nusd` what an answer of each costs (None: not known, then cost shares count calls instead)."""

    workload: str
    small: str
    big: str
    goal: Goal
    target: float
    n: int
    point: Point | None
    points: list[Point]
    honest: Honest
    costs_nusd: tuple[float, float] | None
    verdict: str  # pass | fail | not_enough_data

    @property
    def route(self) -> str:
        """The route to paste into a policy; empty where none is known to be better than asking the big one by lot."""
        if self.point is None or self.honest.above_random.low <= 0:
            return ""
        shown = min(1.0, self.point.threshold)
        return f'{{cascade: [{self.small}, {self.big}], until: "confidence >= {shown:.4f}"}}'

    def as_json(self) -> dict[str, Any]:
        """As REST tells it; costs in nano-dollars an answer."""
        honest = self.honest
        return {
            "workload": self.workload, "small": self.small, "big": self.big, "goal": self.goal, "target": self.target,
            "n": self.n, "threshold": round(min(1.0, self.point.threshold), 4) if self.point else None,
            "route": self.route, "chosen": self.point.as_dict() if self.point else None,
            "curve": [point.as_dict() for point in self.points], "verdict": self.verdict,
            "on_unseen_rows": {
                "accuracy_share": honest.accuracy_share.as_dict(), "cost_share": round(honest.cost_share, 4),
                "escalated": round(honest.escalated, 4), "above_random_points": honest.above_random.as_dict(),
            },
            "cost_nusd": None if self.costs_nusd is None else dict(
                zip(("small", "big"), (round(c, 1) for c in self.costs_nusd), strict=True)
            ),
        }  # fmt: skip


def cascade_threshold(
    *, workload: Workload, small: str, big: str, goal: str = "accuracy", target: float | None = None
) -> Offer:
    """The threshold of `{cascade: [small, big]}` for a workload.

    `accuracy`: the cheapest that keeps this share of the big deployment's accuracy; `cost`: the most accurate within this share
    of its cost. Raises NotFound for a deployment the line of business doesn't have, InvalidRequest where there is nothing to
    choose from, with what to do.
    """
    if goal not in GOALS:
        raise InvalidRequest(
            _("A cascade's goal is accuracy or cost, not %(goal)s.") % {"goal": goal[:40]}, param="goal"
        )
    wanted = USUAL[goal] if target is None else target
    if not 0.0 < wanted <= 1.0:
        raise InvalidRequest(_("A target is a share above 0, at most 1."), param="target")
    if small == big:
        raise InvalidRequest(_("A cascade needs two deployments."), param="big")
    _known(workload, small, "small")
    _known(workload, big, "big")
    first, second = _sheet(workload, small), _sheet(workload, big)
    if first.rows != second.rows:
        raise InvalidRequest(
            _("%(small)s and %(big)s were evaluated on other rows. Evaluate both on the same ones.")
            % {"small": small, "big": big}
        )
    if len(first.right) < cascade.LEAST_ROWS:
        raise InvalidRequest(
            _("%(n)d evaluated rows are not enough to choose a threshold by; %(least)d are needed.")
            % {"n": len(first.right), "least": cascade.LEAST_ROWS}
        )
    costs = _costs(workload, small, big)
    chance = _calibrated(workload, small, first)
    paid = costs or (0.0, 1.0)
    pair = (
        Answers(first.right, chance, paid[0], first.withheld),
        Answers(second.right, second.confidence, paid[1]),
    )
    points = cascade.curve(*pair)
    point = cascade.choose(points, goal, wanted)  # type: ignore[arg-type]
    honest = cascade.across_folds(*pair, goal, wanted, draws=500)  # type: ignore[arg-type]
    verdict = _verdict(point, honest, goal, wanted, len(first.right))
    return Offer(
        workload.name,
        small,
        big,
        goal,
        wanted,
        len(first.right),
        point,
        points,
        honest,
        costs,
        verdict,  # type: ignore[arg-type]
    )


def _known(workload: Workload, name: str, param: str) -> Deployment:
    """A deployment of this organisation that this line of business may name."""
    row = Deployment.objects.filter(organisation_id=workload.organisation_id, name=name).first()
    if row is None or (row.lobs.exists() and not row.lobs.filter(pk=workload.lob_id).exists()):
        raise NotFound(_("There is no deployment %(name)s.") % {"name": name[:63]}, param=param)
    return row


def _sheet(workload: Workload, name: str) -> Sheet:
    found = sheet_of(workload, name)
    if found is None:
        raise InvalidRequest(
            _("%(name)s was not evaluated row by row on %(workload)s. Evaluate it first.")
            % {"name": name, "workload": workload.name}
        )
    return found


def _calibrated(workload: Workload, name: str, sheet: Sheet) -> Any:
    """Confidence as the executor will compare it."""
    found = calibrations_of(workload.organisation_id).get(name, {}).get(workload.name)
    if found is None or found.model != upstream_of(workload, name):
        return sheet.confidence
    return found.chance.many(sheet.confidence)  # type: ignore[attr-defined]


def _verdict(point: Point | None, honest: Honest, goal: str, target: float, n: int) -> str:
    if n < ENOUGH_ROWS:
        return "not_enough_data"
    if point is None:
        return "fail"
    if goal == "cost":
        return "pass" if honest.cost_share <= target * 1.05 and honest.above_random.low > 0 else "fail"
    if honest.accuracy_share.value < target or honest.cost_share >= 1 or honest.above_random.value <= 0:
        return "fail"
    return "pass" if honest.above_random.low > 0 else "not_enough_data"  # by lot it might do as well


def _costs(workload: Workload, small: str, big: str) -> tuple[float, float] | None:
    """Nano-dollars an answer at the metered price: as booked lately, else as evaluated. None where one isn't known."""
    found = [_cost(workload, name) for name in (small, big)]
    return None if found[0] is None or not found[1] else (found[0], found[1])


def _cost(workload: Workload, name: str) -> float | None:
    booked = SpendHour.objects.filter(
        organisation_id=workload.organisation_id, workload=workload.name, deployment=name, purpose="answer",
        start__gte=now() - timedelta(days=WINDOW_DAYS),
    ).aggregate(cost=Sum("answered_cost_nusd"), answers=Sum("answers"))  # fmt: skip
    if booked["answers"]:
        return float(booked["cost"]) / booked["answers"]
    return _evaluated_cost(workload, name)


def _evaluated_cost(workload: Workload, name: str) -> float | None:
    row = (
        Deployment.objects.filter(organisation_id=workload.organisation_id, name=name)
        .select_related("node")
        .first()
    )
    last = Evaluation.objects.filter(workload=workload, deployment__name=name).order_by("-at").first()
    if row is None or last is None:
        return None
    if row.side == "private":
        rate = money.node_rates(workload.organisation_id).get(row.node.name) if row.node else None
        if rate is None or last.p50_ms is None:
            return None
        return (
            pricing.private_cost(int(last.p50_ms * 1e9), rate) / 1_000
        )  # of a thousand, so that rounding doesn't show
    sheet = money.price_sheets(workload.organisation_id, now()).get(name)
    used = last.detail.get("usage")
    if sheet is None or not used or not used.get("rows"):
        return None
    whole = pricing.external_cost(Usage(tokens_in=used["tokens_in"], tokens_out=used["tokens_out"]), sheet)
    return whole / float(used["rows"])
