"""Claims: what the article says, what was measured here, and every gate with its spread."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from modelhub.charts import bars
from switchyard.dashboards.measured import (
    MET,
    MISSED,
    NOT_RUN,
    PARTLY,
    SIMULATED,
    UNJUDGED,
    Claim,
    Measured,
    read_claims,
    read_results,
)
from switchyard.dashboards.pages import Column, PageRequest, Panel, page, show_panels

TIME_SHARE = "time_share_"
TITLES = {
    1: gettext_lazy("AI was high input, low return"),
    2: gettext_lazy("Three contradictions: hardware, labels, verticals"),
    3: gettext_lazy("Effective parameters −70 % at kept quality"),
    4: gettext_lazy("Operator fusion: three times the throughput of a card"),
    5: gettext_lazy("Training cost −82 %"),
    6: gettext_lazy("Progressive distillation without loss"),
    7: gettext_lazy("Inference latency −65 %"),
    8: gettext_lazy("Dynamic Gating Network: two to four experts a token"),
    9: gettext_lazy("Legal text wakes legal experts"),
    10: gettext_lazy("Operations from O(N²) to O(N·k)"),
    11: gettext_lazy("One operator library across devices"),
    12: gettext_lazy("Mixed hardware: training efficiency +40 %"),
    13: gettext_lazy("Medical records by an expert of their own: −60 %"),
    14: gettext_lazy("Buy hardware whose vendor supports the library"),
    15: gettext_lazy("Gate logs lead to better data"),
    16: gettext_lazy("Compression, step 1: 200 experts, clustered"),
    17: gettext_lazy("Compression, step 2: soft labels, temperature 5 to 1"),
    18: gettext_lazy("Compression, step 3: 8 bits at a loss under 1 %"),
    19: gettext_lazy("Code generation, twelve times faster"),
    20: gettext_lazy("A private assistant, its cost −97 %"),
    21: gettext_lazy("Fixed against marginal cost: a hybrid"),
    22: gettext_lazy("Core stays private, edge goes out, experiments fine-tune both"),
    23: gettext_lazy("Iteration from months to weeks"),
    24: gettext_lazy("Manufacturing: fault prediction +18 %"),
    25: gettext_lazy("$3.2 M to $0.95 M a year"),
    26: gettext_lazy("Dynamic pricing from hours to minutes"),
    27: gettext_lazy("Customer sentiment at 92 %"),
    28: gettext_lazy("AI reaches neglected scenes"),
    29: gettext_lazy("Fragmentation: a base model and modules"),
    30: gettext_lazy("Lock-in: demand a hardware abstraction layer"),
    31: gettext_lazy("Compression can amplify bias: monitor it"),
    32: gettext_lazy("A bias operator inside the compressed model"),
    33: gettext_lazy("Training from tens of millions to millions, seconds to milliseconds"),
}


def verdict_words() -> dict[str, Any]:
    return {
        MET: _("met"), MISSED: _("missed"), SIMULATED: _("simulated"), NOT_RUN: _("not run"), PARTLY: _("partly met"),
        UNJUDGED: _("measured, no target"),
    }  # fmt: skip


@page
def claims(request: PageRequest) -> HttpResponse:
    root = settings.ROOT
    found, rows = read_results(root / "bench" / "results"), read_claims(root / "docs" / "claims.md")
    builders = {
        "claims": partial(_claims, rows),
        "gates": partial(_gates, found),
        "operator-time": partial(_operator_time, found),
        "benchmarks": partial(_benchmarks, found),
    }
    counted = {word: sum(row.verdict == name for row in rows) for name, word in verdict_words().items()}
    context = {
        "unreadable": found.unreadable, "any_results": bool(found.benchmarks), "any_claims": bool(rows),
        "counted": [(word, number) for word, number in counted.items() if number],
    }  # fmt: skip
    return show_panels(request, "dashboards/claims.html", builders, context)


def _claims(rows: list[Claim]) -> Panel:
    words = verdict_words()
    table = [
        [row.number, TITLES.get(row.number, row.claim), words[row.verdict], row.figure, row.command, row.definition, row.state]
        for row in rows
    ]  # fmt: skip
    return Panel(
        "claims", _("The article's claims"),
        [Column(_("No."), "count"), Column(_("The article says")), Column(_("Here")), Column(_("Our figure")),
         Column(_("Measured by")), Column(_("What we mean by it"), detail=True), Column(_("State in full"), detail=True)],
        table, wide=True,
        note=_("None of the article's own figures is ours. Figures stand as docs/claims.md words them, in English."),
        empty=_("This installation came without docs/claims.md."),
    )  # fmt: skip


def _gates(found: Measured) -> Panel:
    words = verdict_words()
    rows = [
        [row.benchmark, row.metric, words[row.verdict], row.value, row.low, row.high, row.unit, row.n, row.target or "–",
         "make bench-" + row.benchmark, row.how]
        for row in found.gates
    ]  # fmt: skip
    return Panel(
        "gates", _("Gates"),
        [Column(_("Benchmark"), "word"), Column(_("Metric")), Column(_("Verdict"), "word"), Column(_("Value"), "number"),
         Column(_("Low"), "number"), Column(_("High"), "number"), Column(_("Unit")), Column(_("n"), "count"),
         Column(_("Target"), "word"), Column(_("Command"), detail=True), Column(_("How"), detail=True)],
        rows, wide=True,
        note=_("Low and high: the range over n repeats, or an interval where the CSV's last column says so."),
        empty=_no_results(),
    )  # fmt: skip


def _operator_time(found: Measured) -> Panel:
    """The share of a text model's time by operator, as the last benchmark of models found it."""
    shares = [
        row
        for one in found.benchmarks
        for row in one.controls
        if row.metric.startswith(TIME_SHARE) and row.value is not None
    ]
    shares.sort(key=lambda row: -(row.value or 0))
    names = [row.metric.removeprefix(TIME_SHARE) for row in shares]
    figure = bars(names, [row.value or 0 for row in shares], unit=_("share of time")) if shares else None
    return Panel(
        "operator-time", _("Time by operator"),
        [Column(_("Operator"), "word"), Column(_("Share"), "rate"), Column(_("Low"), "rate"), Column(_("High"), "rate"),
         Column(_("How"), detail=True)],
        [[name, row.value, row.low, row.high, row.how] for name, row in zip(names, shares, strict=True)],
        figure,
        note=_("Of txt-base, one text at a time: matrix products are what a faster operator has to attack."),
        empty=_no_results(),
    )  # fmt: skip


def _benchmarks(found: Measured) -> Panel:
    def count(one: Any, verdict: str) -> int:
        return sum(row.verdict == verdict for row in one.rows if row.target or row.value is None)

    return Panel(
        "benchmarks", _("Benchmarks that ship"),
        [Column(_("Command"), "word"), Column(_("met"), "count"), Column(_("missed"), "count"), Column(_("simulated"), "count"),
         Column(_("not run"), "count"), Column(_("Controls"), "count"), Column(_("Started"), "time"),
         Column(_("Machine")), Column(_("Load then"), "number"), Column(_("Commit"), "word")],
        [[one.command, *(count(one, verdict) for verdict in (MET, MISSED, SIMULATED, NOT_RUN)), len(one.controls),
          one.started, one.machine, one.load_1m, one.commit] for one in found.benchmarks],
        wide=True, note=_("Measured when this version was made, not on this machine."), empty=_no_results(),
    )  # fmt: skip


def _no_results() -> str:
    return _(
        "This installation came without benchmark results: run make bench where the code is checked out."
    )
