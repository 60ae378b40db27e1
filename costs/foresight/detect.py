"""Which day cost far more or far less than its own past says, and by what.

A day's requests, tokens a request, price a token and mix of deployments are each held against the same workload's last four
weeks: a price barely moves from day to day while requests do, so a change of 40 % in one is plain where it would drown in the
other. A day is told when a figure lies beyond all of its past and far from its middle (median and median absolute deviation
on a log scale, weekdays taken out), and when it matters in money. A change that stays is told once; after five days it is
the new level. Days that were told are left out of the past until then; but as many requests, or as long ones, as were told
twice in three months are known: a third time is no news.

With many workloads somebody's day is always odd, and the organisation has one allowance of false alarms, however many there
are. So a day that cost less is told only when that is much of the organisation's spending: most days that stand out are quiet
ones, and they cost nobody anything. Beyond the 35 workloads that the limits were chosen on, each must lie farther off the more
of them are judged, by the tail that such days follow; those that make up much of the spending keep their part of the allowance
(weighted error control, Genovese, Roeder & Wasserman 2006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import exp, log
from statistics import median

from costs.foresight.factors import FACTORS, Day, Say, cause, compare, mean, plainly, requests, split, total

WINDOW, MEMORY, MIN_PAST, NEW_LEVEL = 28, 91, 10, 5
FEW_REQUESTS = 20  # ratios of fewer say nothing
FAR = 5.0  # robust standard deviations, for one of at most so many workloads
CHOSEN_ON = 35
TAIL = 3.0  # days beyond x standard deviations get rarer as one over x cubed, far slower than a bell curve's
# figure → (smallest scale, how far beyond the past's extremes), as natural logarithms
LIMITS = {
    "requests": (0.06, log(1.25)), "tokens": (0.04, log(1.15)), "price": (0.02, log(1.08)), "mix": (0.04, log(1.15)),
    "spend": (0.06, log(1.25)),
}  # fmt: skip
VOLUME = ("requests", "spend")  # follow the week
RECURRING = (
    "requests",
    "spend",
    "tokens",
)  # come and go with who asks; a price or a mix of deployments was decided
PART_OF_DAY = 0.15  # of what the day should have cost
PART_OF_COMPANY = 0.002  # of what the organisation spends on a usual day
PART_OF_COMPANY_LESS = 0.02  # the same of a day that cost less


@dataclass(frozen=True)
class Finding:
    """Nano-dollars; `factor` is what moved most, `score` how many robust standard deviations it lay off."""

    day: date
    factor: str
    score: float
    spent: int
    expected: int
    low: int
    high: int
    parts: Mapping[str, int]
    cause: str


@dataclass
class _Past:
    """The days that count as usual, and which figures of the latest ones stood out: figure → sign, days in a row."""

    flagged: dict[int, dict[str, int]] = field(default_factory=dict)


def find(
    days: Sequence[Day],
    first: date,
    *,
    usual_nusd: float = 0.0,
    workloads: int = 1,
    since: date | None = None,
    applications: Sequence[Mapping[str, float]] | None = None,
    say: Say = plainly,
) -> list[Finding]:
    """Every day that stands out, oldest first. `days[i]`: what each deployment did on `first` + i days.

    `usual_nusd`: what the whole organisation spends on a usual day; what moves less than 0.2 % of it is let pass.
    `workloads`: how many are judged side by side.
    `since`: days before it are only learned from. `applications[i]`: requests by application, to name who asked.
    """
    past, found = _Past(), []
    for t in range(MIN_PAST, len(days)):
        known = _usual(t, past)
        if len(known) < MIN_PAST:
            continue
        day = first + timedelta(days=t)
        told = [i for i in past.flagged if t - MEMORY <= i and i not in known]
        judged = _judge(days, known, told, t, day, usual_nusd, workloads, applications, say)
        _remember(past, t, judged.signs)
        if judged.finding is not None and (since is None or day >= since):
            before = past.flagged.get(t - 1, {})
            if any(before.get(name) != sign for name, sign in judged.signs.items()):
                found.append(judged.finding)
    return found


def _usual(t: int, past: _Past) -> list[int]:
    return [i for i in range(max(0, t - WINDOW), t) if i not in past.flagged or past.flagged[i].get("kept")]


def _remember(past: _Past, t: int, signs: dict[str, int]) -> None:
    """A figure that stood out on five days in a row is where it is now: those days count as usual from here on."""
    if not signs:
        return
    past.flagged[t] = dict(signs)
    run = range(t - NEW_LEVEL + 1, t + 1)
    for name, sign in signs.items():
        if all(past.flagged.get(i, {}).get(name) == sign for i in run):
            for i in run:
                past.flagged[i]["kept"] = 1
            break


@dataclass(frozen=True)
class _Judged:
    signs: dict[str, int]
    finding: Finding | None


def _judge(
    days: Sequence[Day], known: Sequence[int], told: Sequence[int], t: int, day: date, usual_nusd: float,
    workloads: int, applications: Sequence[Mapping[str, float]] | None, say: Say,
) -> _Judged:  # fmt: skip
    today = days[t]
    usual = mean(days[i] for i in known)
    far = _far(workloads, median(total(days[i]) for i in known), usual_nusd)
    figures = {i: _figures(usual, days[i]) for i in known}
    now, again = _figures(usual, today), [_figures(usual, days[i]) for i in told]
    off = {
        name: _distance(
            name, now[name], {i: f[name] for i, f in figures.items()}, [f[name] for f in again], t, far
        )
        for name in LIMITS
    }
    expected_day = _expected_day(usual, figures, t)
    parts = split(expected_day, today)
    expected, spent = round(total(expected_day)), round(total(today))
    signs = {}
    for name, (score, beyond) in off.items():
        money = spent - expected if name == "spend" else parts[name]
        # A price that doubles on a quiet day matters on that day's scale: what the day would have cost without it.
        without = expected if name in VOLUME else min(expected, spent - money)
        part = PART_OF_COMPANY if money > 0 else PART_OF_COMPANY_LESS
        matters = max(PART_OF_DAY * without, part * usual_nusd)
        if beyond and money * score > 0 and abs(money) >= matters:
            signs[name] = 1 if score > 0 else -1
    if not signs:
        return _Judged({}, None)
    named = [n for n in signs if n != "spend"]
    factor = max(named or FACTORS, key=lambda n: abs(parts[n]))
    low, high = _band(expected, {i: f["spend"] for i, f in figures.items()})
    who = None
    if applications is not None:
        names = {n for i in (*known, t) for n in applications[i]}
        who = {
            n: (sum(applications[i].get(n, 0) for i in known) / len(known), applications[t].get(n, 0.0)) for n in names
        }  # fmt: skip
    line = cause(expected_day, today, factor, who, say)
    score = max(abs(off[n][0]) for n in signs)
    return _Judged(signs, Finding(day, factor, score, spent, expected, low, high, parts, line))


def _far(workloads: int, own_nusd: float, usual_nusd: float) -> float:
    """How far off one of so many workloads must lie that spends this on a usual day, of what the organisation spends."""
    share = own_nusd / usual_nusd if usual_nusd > 0 else 0.0
    tests = min(float(workloads), 1 / share if share > 0 else float(workloads)) / CHOSEN_ON
    return FAR * max(1.0, tests) ** (1 / TAIL)


def _figures(usual: Day, day: Day) -> dict[str, float | None]:
    """Each figure as a logarithm; ratios against the usual day, None where there was too little to tell."""
    out: dict[str, float | None] = {
        "requests": log(requests(day) + 1), "spend": log(total(day) + 1), "tokens": None, "price": None, "mix": None,
    }  # fmt: skip
    if requests(day) < FEW_REQUESTS or requests(usual) <= 0 or total(day) <= 0 or total(usual) <= 0:
        return out
    old, new = compare(usual, day)
    plain = sum(old[n].cost(old[n], old[n]) for n in old)
    mixed = sum(new[n].cost(old[n], old[n]) for n in old)
    longer = sum(new[n].cost(new[n], old[n]) for n in old)
    dearer = sum(new[n].cost(new[n], new[n]) for n in old)
    out |= {"mix": _ratio(mixed, plain), "tokens": _ratio(longer, mixed), "price": _ratio(dearer, longer)}
    return out


def _ratio(a: float, b: float) -> float | None:
    return log(a / b) if a > 0 and b > 0 else None


def _distance(
    name: str,
    value: float | None,
    past: Mapping[int, float | None],
    told: Sequence[float | None],
    t: int,
    far: float,
) -> tuple[float, bool]:
    """(robust standard deviations from the middle, whether that is far and beyond all of the past).

    `told`: the figure on days that stood out already. The second farthest on either side is part of the past where such
    things recur.
    """
    known = {i: v for i, v in past.items() if v is not None}
    if value is None or len(known) < MIN_PAST:
        return 0.0, False
    scale_at_least, beyond = LIMITS[name]
    offsets = _weekdays(known) if name in VOLUME else {}
    level = {i: v - offsets.get(i % 7, 0.0) for i, v in known.items()}
    middle = median(level.values())
    scale = max(scale_at_least, 1.4826 * median(abs(v - middle) for v in level.values()))
    score = (value - offsets.get(t % 7, 0.0) - middle) / scale
    seen = sorted(v for v in told if v is not None and name in RECURRING)
    highest = max(*known.values(), *seen[-2:-1])
    lowest = min(*known.values(), *seen[1:2])
    out = value > highest + beyond or value < lowest - beyond
    return score, out and abs(score) >= far


def _weekdays(known: Mapping[int, float]) -> dict[int, float]:
    """How far each weekday usually lies from the middle; a weekday seen twice is believed half."""
    middle = median(known.values())
    out = {}
    for place in range(7):
        own = [v - middle for i, v in known.items() if i % 7 == place]
        if len(own) >= 2:
            out[place] = median(own) * len(own) / (len(own) + 2)
    return out


def _expected_day(usual: Day, figures: Mapping[int, Mapping[str, float | None]], t: int) -> Day:
    """The usual day at as many requests as this weekday usually has."""
    asked = {i: f["requests"] or 0.0 for i, f in figures.items()}
    offsets = _weekdays(asked)
    middle = median(v - offsets.get(i % 7, 0.0) for i, v in asked.items())
    wanted = max(0.0, exp(middle + offsets.get(t % 7, 0.0)) - 1)
    scale = wanted / requests(usual) if requests(usual) > 0 else 0.0
    return {name: use.scaled(scale) for name, use in usual.items()}


def _band(expected: int, spends: Mapping[int, float | None]) -> tuple[int, int]:
    """What such a day has cost: the expected amount, spread as far as the past's own days were from their middle."""
    known = [v for v in spends.values() if v is not None]
    middle = median(known)
    below, above = min(known) - middle, max(known) - middle
    return round(expected * exp(max(below, -20.0))), round(expected * exp(min(above, 20.0)))
