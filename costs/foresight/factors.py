"""What a day's cost is made of, and which of it moved.

cost = requests × Σ over deployments (share of requests × Σ over kinds of unit (units a request × nano-dollars a unit)). The
difference between two days is shared out over these four factors (requests, mix, units a request, price) by Shapley's value:
the mean effect of moving a factor over every order in which they could have moved. The parts sum to the difference exactly,
whatever moved together (Shorrocks 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import factorial, floor

Say = Callable[[str], str]


def gettext_noop(words: str) -> str:
    """Marks words for the catalogue, which goes by this name; Django's own asks for settings, and this is used without any."""
    return words


FACTORS = ("requests", "tokens", "price", "mix")
# kind of unit → what a person calls more of it
KINDS = {
    "input": gettext_noop("input tokens a request"), "output": gettext_noop("output tokens a request"),
    "compute": gettext_noop("compute a request"), "seconds": gettext_noop("seconds a request"),
    "calls": gettext_noop("charges a request"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Use:
    """What one deployment did for a workload in a span of time. `units`: kind → (units, nano-dollars they cost); may be a
    mean, so fractions are allowed."""

    requests: float
    units: Mapping[str, tuple[float, float]]

    @property
    def cost_nusd(self) -> float:
        return sum(cost for _, cost in self.units.values())

    def scaled(self, by: float) -> Use:
        return Use(self.requests * by, {kind: (q * by, c * by) for kind, (q, c) in self.units.items()})


Day = Mapping[str, Use]


@dataclass(frozen=True, slots=True)
class Rates:
    """One deployment's part: share of requests; kind → units a request, kind → nano-dollars a unit."""

    share: float
    amounts: Mapping[str, float]
    prices: Mapping[str, float]

    def cost(self, amounts: Rates, prices: Rates) -> float:
        """Of one request, with this share and others' amounts and prices."""
        return self.share * sum(q * prices.prices[kind] for kind, q in amounts.amounts.items())


def total(day: Day) -> float:
    return sum(use.cost_nusd for use in day.values())


def requests(day: Day) -> float:
    """Answered requests; paid work without any answer counts as one, so that its cost has a factor to stand under."""
    found = sum(use.requests for use in day.values())
    return found if found > 0 or total(day) == 0 else 1.0


def mean(days: Iterable[Day]) -> dict[str, Use]:
    """The mean of some days; what a day lacks is zero there."""
    sums: dict[str, tuple[float, dict[str, tuple[float, float]]]] = {}
    n = 0
    for day in days:
        n += 1
        for name, use in day.items():
            asked, units = sums.get(name, (0.0, {}))
            for kind, (quantity, cost) in use.units.items():
                before = units.get(kind, (0.0, 0.0))
                units[kind] = (before[0] + quantity, before[1] + cost)
            sums[name] = (asked + use.requests, units)
    return {name: Use(asked, units).scaled(1 / n) for name, (asked, units) in sums.items()}


def rates(day: Day) -> dict[str, Rates]:
    """Every deployment's rates. A cost without units counts one a request."""
    whole = requests(day) or 1.0
    out = {}
    for name, use in day.items():
        # Failed attempts that were paid, without any answer: as small a share as they are a part of the cost.
        asked = use.requests or (whole * use.cost_nusd / total(day) if use.cost_nusd else 0.0)
        if asked <= 0:
            continue
        units = {kind: (q if q > 0 else asked, c) for kind, (q, c) in use.units.items() if q > 0 or c}
        amounts = {kind: q / asked for kind, (q, _) in units.items()}
        out[name] = Rates(asked / whole, amounts, {kind: c / q for kind, (q, c) in units.items()})
    return out


def compare(before: Day, after: Day) -> tuple[dict[str, Rates], dict[str, Rates]]:
    """Both days' rates on the same names. A deployment that one of them lacks has the other's rates and no share there, so
    that all of its effect is one of the mix; a kind of unit that one lacks is there at the other's price, none of it used."""
    return align(rates(before), rates(after))


def align(
    before: Mapping[str, Rates], after: Mapping[str, Rates]
) -> tuple[dict[str, Rates], dict[str, Rates]]:
    """`compare`, of rates that are known already; they stay as they are."""
    old, new = dict(before), dict(after)
    if (
        not old or not new
    ):  # nothing at all on one side: everything is a matter of how many requests there were
        return old or dict(new), new or dict(old)
    if all(name in new and own.prices.keys() == new[name].prices.keys() for name, own in old.items()) and len(
        old
    ) == len(new):
        return old, new
    for mine, other in ((old, new), (new, old)):
        for name, theirs in other.items():
            own = mine.get(name, Rates(0.0, theirs.amounts, theirs.prices))
            kinds = {**theirs.amounts, **own.amounts}
            mine[name] = Rates(
                own.share, {k: own.amounts.get(k, 0.0) for k in kinds}, {**theirs.prices, **own.prices}
            )
    return old, new


def split(before: Day, after: Day) -> dict[str, int]:
    """Factor → nano-dollars; they sum to round(cost after) − round(cost before) exactly."""
    old, new = compare(before, after)
    counts = (requests(before), requests(after))

    @cache
    def cost(moved: frozenset[str]) -> float:
        shares, amounts, prices = (new if f in moved else old for f in ("mix", "tokens", "price"))
        return counts["requests" in moved] * sum(shares[n].cost(amounts[n], prices[n]) for n in old)

    n = len(FACTORS)
    parts = {}
    for factor in FACTORS:
        others = [f for f in FACTORS if f != factor]
        value = 0.0
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for chosen in combinations(others, size):
                value += weight * (cost(frozenset({*chosen, factor})) - cost(frozenset(chosen)))
        parts[factor] = value
    return _whole(parts, round(total(after)) - round(total(before)))


def _whole(parts: Mapping[str, float], difference: int) -> dict[str, int]:
    """Integers that sum to the difference: the largest remainders are rounded up."""
    down = {name: floor(value) for name, value in parts.items()}
    rest = difference - sum(down.values())
    order = sorted(parts, key=lambda name: -(parts[name] - down[name]))
    for i in range(abs(rest)):
        down[order[i % len(order)]] += 1 if rest > 0 else -1
    return down


def plainly(words: str) -> str:
    return words


def cause(
    before: Day,
    after: Day,
    factor: str,
    applications: Mapping[str, tuple[float, float]] | None = None,
    say: Say = plainly,
) -> str:
    """One line about what moved most. `applications`: name → (requests before, after). `say` gives words in the language of
    whoever reads the line."""
    old, new = compare(before, after)
    if factor == "requests":
        line = say(gettext_noop("requests")) + f" {_times(requests(before), requests(after), say)}"
        more = {n: b - a for n, (a, b) in (applications or {}).items()}
        name = max(more, key=lambda n: abs(more[n]), default="")
        whose = say(gettext_noop("most of it from application %(name)s"))
        return f"{line}, {whose % {'name': name}}" if name else line
    if factor == "mix":
        name = max(old, key=lambda n: new[n].share - old[n].share)
        words = say(gettext_noop("%(name)s answered %(now)s of the requests, %(then)s before"))
        return words % {"name": name, "now": f"{new[name].share:.0%}", "then": f"{old[name].share:.0%}"}
    moved = {}
    for name in old:
        for kind in old[name].amounts:
            amounts = (old[name].amounts[kind], new[name].amounts[kind])
            prices = (old[name].prices[kind], new[name].prices[kind])
            changed = (
                (amounts[1] - amounts[0]) * prices[0]
                if factor == "tokens"
                else amounts[1] * (prices[1] - prices[0])
            )
            moved[name, kind] = new[name].share * changed
    name, kind = max(moved, key=lambda key: abs(moved[key]))
    if factor == "price":
        change = _percent(old[name].prices[kind], new[name].prices[kind], say)
        words = say(gettext_noop("price of %(name)s %(change)s (%(kind)s)"))
        return words % {"name": name, "change": change, "kind": kind}
    change = _times(old[name].amounts[kind], new[name].amounts[kind], say)
    words = say(gettext_noop("%(what)s %(change)s at %(name)s"))
    return words % {"what": say(KINDS.get(kind, kind)), "change": change, "name": name}


def _times(before: float, after: float, say: Say) -> str:
    return f"×{after / before:.3g}" if before > 0 else say(gettext_noop("from none"))


def _percent(before: float, after: float, say: Say) -> str:
    return f"{after / before - 1:+.0%}" if before > 0 else say(gettext_noop("from nothing"))
