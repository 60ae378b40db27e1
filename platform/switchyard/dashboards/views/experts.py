"""Experts: which of them answer whom, and what to do about it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from django.http import Http404, HttpResponse, JsonResponse
from django.utils.translation import gettext as _

from modelhub import artifacts
from modelhub.charts import heat_map
from modelhub.ml.activation.load import lift
from modelhub.ml.activation.placement import LayerPlan, vllm_settings
from modelhub.models.activation import SOURCES
from modelhub.selectors.experts import (
    LEAST_EVEN,
    MOST_DEVICES,
    MOST_REPLICAS,
    ExpertUse,
    expert_use,
    models_logged,
)
from switchyard.dashboards.pages import Column, PageRequest, Panel, page, show_panels
from switchyard.dashboards.selectors import workloads

LABELS_SHOWN = 40
CARD_LIFT = 1.25


@page
def experts(request: PageRequest) -> HttpResponse:
    ask = request.ask
    known = models_logged(ask.scope)
    model = request.GET.get("model") or (known[0] if known else "")
    if model and model not in known:
        raise Http404
    source = request.GET.get("source", "serving")
    source = source if source in SOURCES else "serving"
    use = expert_use(
        scope=ask.scope, model=model, start=ask.period.start.date(), end=ask.period.last_day, lob=ask.lob, source=source
    )  # fmt: skip
    plans, fault = _plans(request, use)
    if request.GET.get("download") == "vllm":
        return _download(model, plans)
    stated = _stated(model)
    builders = {
        "expert-load": partial(_load, use, _titles(stated, {w.name for w in workloads(ask)})),
        "experts-by-lob": partial(_by_lob, use),
        "experts-by-label": partial(_by_label, use),
        "expert-suggestions": partial(_suggestions, use, stated),
        "weak-experts": partial(_weak, stated, {w.name for w in workloads(ask)}),
        "data-loop": partial(_loop, stated.get("loop") or {}),
        "expert-placement": partial(_placement, plans),
    }
    context = {
        "models": known, "model": model, "source": source, "sources": SOURCES, "use": use, "fault": fault,
        "devices": request.GET.get("devices", "2"), "redundant": request.GET.get("redundant", "0"), "plans": plans,
    }  # fmt: skip
    return show_panels(request, "modelhub/experts.html", builders, context)


def _plans(request: PageRequest, use: ExpertUse | None) -> tuple[list[LayerPlan], str]:
    """The placement that was asked for, or why there is none."""
    if use is None:
        return [], ""
    try:
        devices, redundant = (
            int(request.GET.get(name) or default) for name, default in (("devices", 2), ("redundant", 0))
        )
        if not (1 <= devices <= MOST_DEVICES and 0 <= redundant <= MOST_REPLICAS):
            raise ValueError(_("Devices lie in 1 to 1,024 and replicas in 0 to 4,096."))
        return use.placement(devices, redundant), ""
    except ValueError as error:
        return [], str(error)


def _download(model: str, plans: list[LayerPlan]) -> HttpResponse:
    if not plans:
        raise Http404
    answer = JsonResponse(vllm_settings(plans), json_dumps_params={"indent": 1})
    answer["Content-Disposition"] = f'attachment; filename="{model}-expert-placement.json"'
    return answer


def _stated(model: str) -> dict[str, Any]:
    """What the model's card says of its experts; a model that lives elsewhere says nothing."""
    try:
        return dict(artifacts.load_manifest(artifacts.find(model)).get("experts") or {})
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt):
        return {}


def _titles(stated: dict[str, Any], mine: set[str]) -> dict[tuple[int, int], str]:
    """What each expert serves, told with the reader's own workloads' labels only."""
    found = {}
    for card in stated.get("cards", []):
        labels = [s["label"] for s in card["labels"] if s["head"] in mine and s["lift"] >= CARD_LIFT]
        lengths = [s["name"] for s in card["lengths"] if s["lift"] >= CARD_LIFT]
        found[int(card["layer"]), int(card["expert"])] = ", ".join([*lengths[:1], *labels[:2]])
    return found


def _places(use: ExpertUse) -> list[str]:
    """Every expert of every layer, as the columns of a figure name them."""
    layers, experts = use.total.shape
    return [f"{layer}·E{expert}" for layer in range(layers) for expert in range(experts)]


def cells(mine: np.ndarray, use: ExpertUse) -> list[float | None]:
    """A part's use of every expert, in multiples of all together's; None where nobody used it. Shapes: mine (L, E) -> L · E."""
    times, used = lift(mine, use.total).ravel().tolist(), (use.total > 0).ravel()
    return [value if known else None for value, known in zip(times, used, strict=True)]


def _load(use: ExpertUse | None, titles: dict[tuple[int, int], str]) -> Panel:
    """Layer × expert, in multiples of an even share."""
    rows, figure = [], None
    if use is not None:
        loads, n = use.loads, use.total.shape[1]
        for load in loads:
            for expert in range(n):
                state = _("hot") if expert in load.hot else _("cold") if expert in load.cold else ""
                rows.append([load.layer, expert, int(use.total[load.layer, expert]), float(load.share[expert]),
                             float(load.share[expert] * n), state, titles.get((load.layer, expert), "")])  # fmt: skip
        figure = heat_map(
            [list(load.share * n) for load in loads], [f"E{i}" for i in range(n)],
            [_("Layer %(n)s") % {"n": load.layer} for load in loads],
            unit=_("× even share"), centre=1.0, highest=max(2.0, *(load.imbalance for load in loads)),
        )  # fmt: skip
    return Panel(
        "expert-load", _("Load of the experts"),
        [Column(_("Layer"), "count"), Column(_("Expert"), "count"), Column(_("Tokens"), "count"), Column(_("Share"), "rate"),
         Column(_("× even share"), "number"), Column(_("State")), Column(_("Serves"))],
        rows, figure, wide=True,
        note=_("Hot: over twice an even share. Cold: under a tenth of it. Counted from sampled requests."),
        empty=_("Nothing has been counted in this period."),
    )  # fmt: skip


def _by_lob(use: ExpertUse | None) -> Panel:
    """Line of business × (layer, expert): used more or less than by all together, and what is hot for whom."""
    rows, figure = [], None
    if use is not None:
        hot = use.hot_by_lob()
        lifts = {lob: lift(use.by_lob[lob], use.total) for lob in sorted(use.by_lob)}
        for lob, mine in lifts.items():
            for load in hot[lob]:
                rows += [
                    [lob or _("none"), load.layer, e, float(load.share[e]), float(mine[load.layer, e])]
                    for e in load.hot
                ]
        figure = heat_map(
            [cells(use.by_lob[lob], use) for lob in lifts], _places(use), [lob or _("none") for lob in lifts],
            unit=_("× all together"), centre=1.0, highest=3.0,
        )  # fmt: skip
    return Panel(
        "experts-by-lob", _("Experts by line of business"),
        [Column(_("Line of business")), Column(_("Layer"), "count"), Column(_("Hot expert"), "count"), Column(_("Share"), "rate"),
         Column(_("× all together"), "number")],
        rows, figure, wide=True,
        note=_("The figure shows every expert, the table those that are hot for a line of business."),
        empty=_("Nothing has been counted in this period."),
    )  # fmt: skip


def _by_label(use: ExpertUse | None) -> Panel:
    """Label × (layer, expert), the labels with most tokens."""
    rows, figure = [], None
    if use is not None:
        busiest = sorted(use.by_label, key=lambda key: -int(use.by_label[key].sum()))[:LABELS_SHOWN]
        lifts = [lift(use.by_label[key], use.total) for key in busiest]
        for key, mine in zip(busiest, lifts, strict=True):
            layer, expert = divmod(int(mine.argmax()), mine.shape[1])
            tokens = int(use.by_label[key].sum())
            rows.append([key[1], key[2] or "–", tokens, layer, expert, float(mine[layer, expert])])
        figure = heat_map(
            [cells(use.by_label[key], use) for key in busiest], _places(use),
            [f"{key[1]}: {key[2] or '–'}"[:48] for key in busiest],
            unit=_("× all together"), centre=1.0, highest=4.0,
        )  # fmt: skip
    return Panel(
        "experts-by-label", _("Experts by label"),
        [Column(_("Workload")), Column(_("Label")), Column(_("Tokens"), "count"), Column(_("Layer"), "count"),
         Column(_("Its own expert"), "count"), Column(_("× all together"), "number")],
        rows, figure, wide=True,
        note=_("The %(n)s labels with most tokens; in serving it is the label that was given, in training the true one.")
        % {"n": LABELS_SHOWN},
        empty=_("Nothing has been counted in this period."),
    )  # fmt: skip


def _suggestions(use: ExpertUse | None, stated: dict[str, Any]) -> Panel:
    """Prune by load, merge by what the card measured of the experts' outputs."""
    rows: list[list[Any]] = []
    empty = _("No expert is cold, and no two of them are alike.")
    if use is not None:
        if not use.enough:
            empty = _("Too little was counted to say: an even share has to be %(n)s tokens.") % {
                "n": LEAST_EVEN
            }
        rows = [[_("prune"), s.layer, ", ".join(map(str, s.experts)), s.lost_share,
                 _("under a tenth of an even share")] for s in use.suggestions()]  # fmt: skip
        for pair in stated.get("similar", []):
            share = use.total[pair["layer"]] / max(1, int(use.total[pair["layer"]].sum()))
            moved = float(min(share[pair["first"]], share[pair["second"]]))
            reason = _("their outputs agree with a cosine of %(cosine)s") % {"cosine": f"{pair['alike']:.2f}"}
            rows.append([_("merge"), pair["layer"], f"{pair['first']}, {pair['second']}", moved, reason])
    return Panel(
        "expert-suggestions", _("What could be pruned or merged"),
        [Column(_("What")), Column(_("Layer"), "count"), Column(_("Experts")), Column(_("Load that moves"), "rate"),
         Column(_("Why"))],
        rows, empty=empty,
        note=_("A suggestion by this period's load; what it costs in accuracy is measured when it is tried."),
    )  # fmt: skip


def _weak(stated: dict[str, Any], mine: set[str]) -> Panel:
    """Busy experts whose rows are answered worst, told with the reader's own workloads' labels only."""
    rows = []
    for weak in stated.get("weakest", []):
        slices = [
            f"{s['head']}: {s['label']} ({s['accuracy']:.0%}, n = {s['rows']})"
            for s in weak["slices"]
            if s["head"] in mine
        ]
        rows.append([weak["layer"], weak["expert"], weak["load"], weak["accuracy"], weak["low"], weak["high"], weak["rows"],
                     "; ".join(slices)])  # fmt: skip
    return Panel(
        "weak-experts", _("Weakest busy experts"),
        [Column(_("Layer"), "count"), Column(_("Expert"), "count"), Column(_("Share"), "rate"), Column(_("Right"), "rate"),
         Column(_("Low"), "rate"), Column(_("High"), "rate"), Column(_("Rows"), "count"),
         Column(_("Labels that are answered worst"))],
        rows, wide=True,
        note=_("Measured once on the model's validation rows; an expert's rows are those where it is its layer's busiest."),
        empty=_("This model's card names no weak experts."),
    )  # fmt: skip


def _loop(loop: dict[str, Any]) -> Panel:
    """What training on the weak experts' slices changed, beside as many random rows."""
    arms = {"weak_rows": _("Rows of the weak slices"), "random_rows": _("As many random rows")}
    places = {"slices": _("on those slices"), "elsewhere": _("elsewhere"), "overall": _("over all")}
    rows, note = [], ""
    if loop:
        rows = [
            [
                arms[arm],
                places[place],
                change["median"],
                change["low"],
                change["high"],
                len(change["by_seed"]),
            ]
            for arm, found in loop["changes"].items()
            for place, change in found.items()
        ]
        left_out = sum(finding["left_out"] for finding in loop["findings"])
        note = _(
            "%(extra)s rows of the slices were learnt again, drawn evenly by label; %(left)s that look mislabelled were left "
            "out. One half of the validation rows named the slices, the other judged, then they changed places."
        ) % {"extra": f"{loop['config']['extra']:,}", "left": left_out}
    return Panel(
        "data-loop", _("What was done because of it: the data loop"),
        [Column(_("Learnt again")), Column(_("Accuracy")), Column(_("Points gained"), "number"), Column(_("Low"), "number"),
         Column(_("High"), "number"), Column(_("Seeds"), "count")],
        rows, wide=True, note=note, empty=_("No loop was closed for this model."),
    )  # fmt: skip


def _placement(plans: list[LayerPlan]) -> Panel:
    rows = [
        [plan.layer, number, ", ".join(map(str, held)), plan.imbalance_before, plan.imbalance_after]
        for plan in plans
        for number, held in enumerate(plan.devices)
    ]
    return Panel(
        "expert-placement", _("Placement on several devices"),
        [Column(_("Layer"), "count"), Column(_("Device"), "count"), Column(_("Holds experts")),
         Column(_("Busiest over mean, in order"), "number"), Column(_("Busiest over mean, placed"), "number")],
        rows, empty=_("No plan for this period."),
        note=_("Hot experts get replicas, then the heaviest goes to the least loaded device. Planned from counts, not measured."),
    )  # fmt: skip
