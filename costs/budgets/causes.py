"""One line on where a budget's money went and what changed, from the roll-ups."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.utils.translation import gettext as _

from costs.budgets.rollups import spend_of
from costs.contracts import BudgetLimit
from costs.label_hours import hours_of
from costs.rollups import hour_of
from switchyard.core.clock import now

DAY = timedelta(days=1)
STEADY = (0.8, 1.25)  # a ratio in between is no change worth a word


def cause_of(limit: BudgetLimit, start: datetime, at: datetime | None = None) -> str:
    """Such as "support-intent on ext-mini: 62 % of it; requests ×3.1 against the day before". Empty when the roll-ups
    know of nothing yet."""
    at = at or now()
    if limit.covers == "labels":
        return _of_labels(limit, start, at)
    rows = spend_of(limit, hour_of(start), at)
    names = ("workload", "deployment") if limit.lob else ("lob", "workload", "deployment")
    found = list(
        rows.values(*names).annotate(nusd=Sum("cost_nusd")).filter(nusd__gt=0).order_by("-nusd", *names)
    )
    if not found:
        return ""
    most, total = found[0], sum(row["nusd"] for row in found)
    same = {name: most[name] for name in names}
    line = _of_it(_named(most), most["nusd"], total)
    changed = _change(limit, same, at)
    return f"{line}; {changed}"[:300] if changed else line[:300]


def _named(row: dict[str, Any]) -> str:
    work = row["workload"] or _("work without a workload")
    whose = f"{row['lob']}, " if row.get("lob") else ""
    return whose + _("%(work)s on %(deployment)s") % {"work": work, "deployment": row["deployment"]}


def _of_it(what: str, part: int, whole: int) -> str:
    share = (200 * part + whole) // (2 * whole)  # half up, in integers
    return _("%(what)s: %(share)s %% of it") % {"what": what, "share": share}


def _change(limit: BudgetLimit, same: dict[str, str], at: datetime) -> str:
    """What moved in the last whole 24 hours against the 24 before: how much was asked, else what one request costs."""
    until = hour_of(at) + timedelta(hours=1)
    last, before = (
        spend_of(limit, end - DAY, end)
        .filter(**same)
        .aggregate(
            requests=Sum("requests"), nusd=Sum("cost_nusd"), tokens=Sum("tokens_in") + Sum("tokens_out")
        )
        for end in (until, until - DAY)
    )
    if not last["requests"]:
        return ""
    if not before["requests"]:
        return _("nothing of it the day before")
    asked = last["requests"] / before["requests"]
    if not STEADY[0] <= asked <= STEADY[1]:
        return _("requests ×%(times)s against the day before") % {"times": f"{asked:.2g}"}
    for name, words in (
        ("tokens", _("tokens a request ×%(times)s against the day before")),
        ("nusd", _("cost of a request ×%(times)s against the day before")),
    ):
        if before[name]:
            ratio = (last[name] or 0) / last["requests"] / (before[name] / before["requests"])
            if not STEADY[0] <= ratio <= STEADY[1]:
                return words % {"times": f"{ratio:.2g}"}
    return _("much as the day before")


def _of_labels(limit: BudgetLimit, start: datetime, at: datetime) -> str:
    """From their own roll-up, by whole hours."""
    rows = hours_of(limit, hour_of(start), at + timedelta(seconds=1)).filter(amount_nusd__gt=0)
    names = ("lob", "workload", "purpose")
    found = list(rows.values(*names).annotate(nusd=Sum("amount_nusd")).order_by("-nusd", *names))
    if not found:
        return ""
    most = found[0]
    work = most["workload"] or most["lob"]
    what = _("%(purpose)s of %(work)s") % {"purpose": most["purpose"], "work": work}
    return _of_it(what, most["nusd"], sum(r["nusd"] for r in found))[:300]
