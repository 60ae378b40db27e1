"""What labels cost, by whatever a report of spending is grouped by: beside what calls cost, never among it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from django.db.models import Sum

from costs.models import LabelHour
from costs.reports.base import TIMES
from costs.rollups import hour_of
from switchyard.tenancy.querysets import Scope

LABELS = "labels"  # stands where a label has no name: nothing answered it
NAMED = ("lob", "workload", "purpose")


def labels_by(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    groups: Sequence[str],
    zone: tzinfo,
    lob: str | None = None,
    only: Mapping[str, str | None] | None = None,
) -> dict[str, int]:
    """Key → nano-dollars. Labels have no application, deployment, model, side or node: grouped by one, they stand under
    "labels"; narrowed to one, there are none. An hour that lies in two local days is its first one's."""
    wanted = {name: value for name, value in (only or {}).items() if value}
    if set(wanted) - set(NAMED):
        return {}
    rows = LabelHour.objects.for_tenant(scope).filter(start__gte=hour_of(start), start__lt=end, **wanted)
    rows = rows.filter(lob=lob) if lob else rows
    names = [group for group in groups if group in NAMED]
    timed = any(group in TIMES for group in groups)
    asked = rows.order_by().values(*names, *(["start"] if timed else [])) if names or timed else None
    found: dict[str, int] = defaultdict(int)
    if asked is None:
        found["|".join(LABELS for _ in groups)] = rows.aggregate(nusd=Sum("amount_nusd"))["nusd"] or 0
    else:
        for row in asked.annotate(nusd=Sum("amount_nusd")):
            key = "|".join(_part(group, row, zone) for group in groups)
            found[key] += row["nusd"]
    return {key: nusd for key, nusd in sorted(found.items()) if nusd}


def _part(group: str, row: Mapping[str, object], zone: tzinfo) -> str:
    if group in TIMES:
        start = row["start"]
        assert isinstance(start, datetime)
        return start.astimezone(zone).strftime(TIMES[group])
    return str(row[group]) if group in NAMED else LABELS
