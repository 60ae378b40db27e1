"""The pages in the order they are listed, in groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Entry:
    title: Any
    url: str
    icon: str
    current: bool
    count: int = 0  # what waits there for this reader


GROUPS: tuple[tuple[Any, tuple[tuple[Any, str, str], ...]], ...] = (
    ("", ((_("Overview"), "overview", "grid"),)),
    (_("Money"), (
        (_("Spend"), "spend", "coins"),
        (_("Savings"), "savings", "down"),
        (_("Forecast"), "forecast", "forecast"),
        (_("Budgets"), "budgets", "gauge"),
        (_("Statements"), "statements", "receipt"),
    )),
    (_("Planning"), (
        (_("Lifetime cost"), "lifetime", "cycle"),
        (_("Break-even"), "break-even", "crossing"),
        (_("Capacity"), "capacity", "bars"),
        (_("Economics"), "economics", "sliders"),
    )),
    (_("Books"), (
        (_("Ledger"), "ledger", "book"),
        (_("Reconciliation"), "reconciliation", "scales"),
        (_("Prices"), "prices", "tag"),
        (_("Machines"), "machines", "server"),
    )),
    (_("Quality"), (
        (_("Accuracy"), "accuracy", "target"),
        (_("Objectives"), "objectives", "gauge"),
        (_("Labelling"), "labelling", "tag"),
        (_("Bias"), "bias", "scales"),
        (_("Review list"), "review", "shield"),
    )),
    (_("Routing"), (
        (_("Decisions"), "decisions", "list"),
        (_("Policies"), "policies", "branch"),
    )),
    (_("Models"), (
        (_("Models"), "models", "cube"),
        (_("Upstreams"), "upstreams", "branch"),
        (_("Experiments"), "experiments", "scales"),
        (_("Experts"), "experts", "grid"),
        (_("Devices"), "devices", "server"),
        (_("Jobs"), "jobs", "play"),
        (_("Batches"), "batches", "list"),
    )),
    (_("Trust"), (
        (_("Alerts"), "alerts", "bell"),
        (_("Audit log"), "audit", "lock"),
        (_("Claims and gates"), "claims", "target"),
    )),
)  # fmt: skip


def entries(path: str, counts: Mapping[str, int] = MappingProxyType({})) -> list[tuple[Any, list[Entry]]]:
    groups = []
    for title, pages in GROUPS:
        group = []
        for name, view, icon in pages:
            url = reverse(f"dashboards:{view}")
            current = path == url if url == "/" else path.startswith(url)
            group.append(Entry(name, url, icon, current, counts.get(view, 0)))
        groups.append((title, group))
    return groups
