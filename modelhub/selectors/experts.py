"""What the activation log says of a model's experts, for one reader's scope."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from django.db.models import Sum

from modelhub.ml.activation.load import LayerLoad, divergence, layer_loads
from modelhub.ml.activation.placement import LayerPlan, plan_layer
from modelhub.ml.activation.redundancy import Suggestion, suggest
from modelhub.models import ExpertActivation
from switchyard.tenancy.querysets import Scope

MOST_DEVICES, MOST_REPLICAS = 1024, 4096  # of a placement that somebody may ask for
LEAST_EVEN = 100  # tokens of an even share: below, an expert under a tenth of it may be so by chance


@dataclass(slots=True)
class ExpertUse:
    """Counts (L, E) of a model in a period: all of them, and by line of business and by (lob, head, label)."""

    model: str
    source: str
    total: np.ndarray
    requests: int = 0
    tokens: int = 0
    by_lob: dict[str, np.ndarray] = field(default_factory=dict)
    by_label: dict[tuple[str, str, str], np.ndarray] = field(default_factory=dict)

    @property
    def loads(self) -> list[LayerLoad]:
        return layer_loads(self.total)

    def hot_by_lob(self) -> dict[str, list[LayerLoad]]:
        """Hot experts are a line of business's own: what is hot for one may sleep for the others."""
        return {lob: layer_loads(counts) for lob, counts in self.by_lob.items()}

    def divergences(self) -> list[tuple[str, str, float]]:
        """Every two lines of business and how differently they use the experts, in bits."""
        names = sorted(self.by_lob)
        return [
            (a, b, divergence(self.by_lob[a], self.by_lob[b]))
            for i, a in enumerate(names)
            for b in names[i + 1 :]
        ]

    @property
    def enough(self) -> bool:
        """Whether so much was counted in every layer that an idle expert is idle and not unlucky."""
        return bool((self.total.mean(axis=1) >= LEAST_EVEN).all())

    def suggestions(self) -> list[Suggestion]:
        """What to prune by load alone, none before enough was counted; merging takes the experts' outputs, which the model's
        card holds."""
        if not self.enough:
            return []
        return [s for layer, counts in enumerate(self.total) for s in suggest(layer, counts)]

    def placement(self, devices: int, redundant: int) -> list[LayerPlan]:
        """Raises ValueError when the slots can't be shared evenly."""
        return [
            plan_layer(i, counts, devices=devices, redundant=redundant) for i, counts in enumerate(self.total)
        ]


def models_logged(scope: Scope) -> list[str]:
    """Models of which the reader may see counts, the one with most tokens first."""
    rows = (
        ExpertActivation.objects.for_tenant(scope).order_by().values("model").annotate(counted=Sum("tokens"))
    )
    return [row["model"] for row in rows.order_by("-counted", "model")]


def expert_use(
    *, scope: Scope, model: str, start: date, end: date, lob: str | None = None, source: str = "serving"
) -> ExpertUse | None:
    """Sums over days [start, end]; None when nothing was counted. Counts of another shape than the latest are of another
    build of the model and left out."""
    rows = ExpertActivation.objects.for_tenant(scope).filter(
        model=model, source=source, day__gte=start, day__lte=end
    )
    if lob:
        rows = rows.filter(lob=lob)
    found = list(rows.order_by("day", "pk"))
    if not found:
        return None
    shape = (found[-1].layers, found[-1].experts)
    use = ExpertUse(model, source, np.zeros(shape, np.int64))
    for row in found:
        if (row.layers, row.experts) != shape:
            continue
        counts = row.counts.astype(np.int64)
        use.total += counts
        use.requests += row.requests
        use.tokens += row.tokens
        _add(use.by_lob, row.lob, counts)
        _add(use.by_label, (row.lob, row.head.partition("@")[0], row.label), counts)
    return use


def _add(sums: dict[Any, np.ndarray], key: Any, counts: np.ndarray) -> None:
    sums[key] = sums[key] + counts if key in sums else counts
