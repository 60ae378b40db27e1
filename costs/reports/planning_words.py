"""What the planners' figures say, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from costs.planning.advice import Facts, Terms
from costs.planning.break_even import LEAST_DAYS
from costs.planning.queueing import Outcome, Planner
from switchyard.core.money import NUSD_PER_USD

Row = Mapping[str, Any]


def volume(value: float | None) -> str:
    """Three significant digits, whole numbers from a hundred on."""
    if value is None:
        return "–"
    if value >= 100:
        digits = len(str(round(value)))
        return f"{round(value, 3 - digits):,.0f}"
    return f"{value:.3g}"


def money(nusd: float | None) -> str:
    """Cents from a dollar on, else three significant digits."""
    if nusd is None:
        return "–"
    usd = abs(nusd) / NUSD_PER_USD
    sign = "−" if nusd < 0 else ""
    if usd == 0:
        return "$0"
    if usd >= 1:
        return f"{sign}${usd:,.2f}"
    return f"{sign}${float(f'{usd:.3g}'):.12f}".rstrip("0")


def no_days() -> str:
    return _("No whole day with traffic lies in this period: choose a longer one.")


def break_even(row: Row) -> str:
    """What a workload's row says, and what follows from it."""
    return " ".join(part for part in (_where(row), _bound_part(row), _what_to_do(row)) if part)


def riding(row: Row) -> str:
    """The same where the machines stay for other work whatever this one does."""
    return " ".join(part for part in (_where(row), _bound_part(row), riding_part()) if part)


def riding_part() -> str:
    return _(
        "By its share of their bills, that is: the machines stay for work that may not leave, and have room for this."
    )


def _where(row: Row) -> str:
    named = {
        "x": volume(row["break_even_per_day"]), "y": volume(row["answers_per_day"]), "low": volume(row["low"]),
        "high": volume(row["high"]), "days": row["days"], "least": LEAST_DAYS,
        "private": money(row["private_nusd_per_1000"]), "external": money(row["external_nusd_per_1000"]),
    }  # fmt: skip
    if row["verdict"] in ("private", "external", "unclear"):
        if row["break_even_per_day"] is None or row["high"] is None:
            return (
                _(
                    "Private is cheaper above %(low)s answers a day at the least, perhaps never; you are at %(y)s."
                )
                % named
            )
        return (
            _("Private is cheaper above %(x)s answers a day (%(low)s to %(high)s); you are at %(y)s.") % named
        )
    texts = {
        "always": _(
            "Private is cheaper at any volume: its machines are paid for whatever comes; you are at %(y)s a day."
        ),
        "never": _(
            "Private is never cheaper: 1,000 answers take %(private)s of a machine that is used as planned, and cost "
            "%(external)s outside; you are at %(y)s a day."
        ),
        "bound": _(
            "Residency keeps this work at home: it has no external alternative, so there is no break-even."
        ),
        "no_external_price": _(
            "No external deployment with a price could have answered this, so there is nothing to compare with: add a price."
        ),
        "no_private_price": _(
            "Nobody said what a machine costs, or nothing was measured on one: give a node its cost."
        ),
        "no_traffic": _("Nothing was answered in this period."),
        "not_enough_data": _("Not enough data: %(days)s whole days, and at least %(least)s are needed."),
    }
    return texts[row["verdict"]] % named


def _bound_part(row: Row) -> str:
    if row["verdict"] in ("bound", "no_traffic") or not 0 < row["movable_share"] < 1:
        return ""
    return _("%(share)s %% of it may not leave; the sentence is about the rest.") % {
        "share": volume(100 * (1 - row["movable_share"]))
    }


def _what_to_do(row: Row) -> str:
    actions = {
        "keep": {
            "private": _("Keep it at home."), "always": _("Keep it at home."), "external": _("Keep it outside."),
            "never": _("Keep it outside."),
        },
        "move_home": {
            "private": _("Moving it home pays."),
            "always": _("Moving it home pays."),
        },
        "move_out": {
            "external": _("Unless quality or privacy hold it, send it out."),
            "never": _("Unless quality or privacy hold it, send it out."),
        },
        "wait": {"unclear": _("Today's volume lies within that interval: wait for more days before you move anything.")},
    }  # fmt: skip
    told = actions.get(row["action"], {}).get(row["verdict"], "")
    capacity = row["capacity_per_day"]
    if told and row["verdict"] in ("private", "always") and capacity and row["answers_per_day"] > capacity:
        told += " " + _("It needs more than is paid for (%(capacity)s a day): see the capacity planner.") % {
            "capacity": volume(capacity)
        }
    return told


def organisation(row: Row) -> str:
    """What follows for the machines as a whole."""
    if row["rides_free"]:
        return " ".join(part for part in (_paid_anyway(row), _what_to_do(row)) if part)
    staying = ngettext(
        "%(n)d machine must stay for work that may not leave.",
        "%(n)d machines must stay for work that may not leave.",
        row["machines_bound"],
    ) % {"n": row["machines_bound"]}  # fmt: skip
    parts = [_("All work that may leave, together:"), _where(row)]
    if row["machines_bound"]:
        parts.append(staying)
    if row["machines_off"]:
        parts.append(
            ngettext(
                "%(n)d of %(all)d machine could be switched off and its work sent out: about %(saved)s a month saved.",
                "%(n)d of %(all)d machines could be switched off and their work sent out: about %(saved)s a month saved.",
                row["machines"],
            )
            % {"n": row["machines_off"], "all": row["machines"], "saved": money(row["saving_nusd_per_month"])}
        )
    else:
        parts.append(_what_to_do(row))
    return " ".join(part for part in parts if part)


def _paid_anyway(row: Row) -> str:
    """Bound work keeps all machines, and they have room: what may leave costs nothing more at home."""
    text = ngettext(
        "%(n)d machine must stay for work that may not leave, so its bill of %(bill)s a day is due either way. It has room "
        "for all other work too: %(y)s answers a day, which would cost %(outside)s a day outside and nothing more at home.",
        "%(n)d machines must stay for work that may not leave, so their bill of %(bill)s a day is due either way. They have "
        "room for all other work too: %(y)s answers a day, which would cost %(outside)s a day outside and nothing more at "
        "home.",
        row["machines_bound"],
    )  # fmt: skip
    outside = (row["external_nusd_per_1000"] or 0) * row["answers_per_day"] / 1000
    return text % {
        "n": row["machines_bound"], "bill": money(row["machines_nusd_per_day"]), "y": volume(row["answers_per_day"]),
        "outside": money(outside),
    }  # fmt: skip


def nothing_to_queue() -> str:
    return _(
        "Nothing to queue: in this period the private side gave fewer than two answers with a measured time. "
        "Choose a period with traffic."
    )


def machines_are_shared() -> str:
    return _(
        "Machines are bought and shared by the whole organisation: this comparison is for those who see all of it. "
        "The capacity planner above shows your own work, as if it had machines of its own."
    )


def capacity(planner: Planner, found: Outcome | None, factor: float, machines: int | None, told: Row) -> str:
    """How many machines meet the target at that load, and what to buy or switch off."""
    named = {
        "share": f"{planner.percentile:g}", "target": f"{planner.target_ms:,.4g}", "factor": f"{factor:,.10g}",
        "n": told["fewest"],
    }  # fmt: skip
    if found is None:
        return (
            _(
                "No number of machines brings %(share)s %% of the answers within %(target)s ms: the work alone takes longer. "
                "A faster device or a smaller model would."
            )
            % named
        )
    named |= {"p95": f"{found.response_ms[95]:,.3g}", "used": f"{found.utilisation * 100:.2g}"}
    meets = ngettext(
        "At %(factor)s × the measured arrivals %(n)s machine brings %(share)s %% of the answers within %(target)s ms "
        "(95 %% within %(p95)s ms, %(used)s %% busy).",
        "At %(factor)s × the measured arrivals %(n)s machines bring %(share)s %% of the answers within %(target)s ms "
        "(95 %% within %(p95)s ms, %(used)s %% busy).",
        found.servers,
    )  # fmt: skip
    return f"{meets % named} {_change(machines, told)}"


def _change(machines: int | None, told: Row) -> str:
    if machines is None:
        return _("This is the work alone, as if it had machines of its own.")
    if not machines:
        return _("No machine has a cost yet: give a node one, then what to buy or switch off can be said.")
    change, a_month = told["change"], told["change_nusd_per_month"]
    named = {"all": machines, "n": abs(change), "saved": money(abs(a_month)) if a_month is not None else ""}
    if change > 0:
        return _("You have %(all)s: buy %(n)s more, about %(saved)s a month.") % named
    if change < 0:
        return _("You have %(all)s: %(n)s can be switched off, about %(saved)s a month saved.") % named
    return _("You have %(all)s: keep them.") % named if machines > 1 else _("You have one: keep it.")


def purchase(rows: Sequence[Row], facts: Facts, terms: Terms) -> str:
    """The cheapest device that does it, and what it stands beside."""
    best = rows[0]
    if best["nusd_per_month"] is None:
        return (
            _("No device here brings %(share)s %% of the answers within %(target)s ms under these assumptions.")
            % {"share": f"{terms.percentile:g}", "target": f"{terms.target_ms:,.4g}"}
        )  # fmt: skip
    named = {
        "n": best["servers"], "device": best["name"], "month": money(best["nusd_per_month"]),
        "correct": money(best["nusd_per_correct"]), "today": money(facts.today_nusd_per_month),
    }  # fmt: skip
    text = _("Cheapest at these arrivals: %(n)s × %(device)s at %(month)s a month.") % named
    if best["nusd_per_correct"] is not None:
        text += " " + _("A correct answer costs %(correct)s.") % named
    else:
        text += " " + _("Nobody judged an answer, so a correct one can't be priced.")
    if facts.external_nusd is None:
        text += " " + _("None of this work has an external price to compare with.")
    elif best["month_against_external"] is None:
        text += " " + _("It never pays against the external price at this volume.")
    else:
        text += " " + _("It pays against the external price from month %(m)s on.") % {
            "m": best["month_against_external"]
        }
    if facts.today_machines:
        text += " " + _("Today's machines cost %(today)s a month.") % named
    return text
