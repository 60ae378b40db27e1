"""Which day cost far more or far less than its own past says, and by what.

A day's requests, tokens a request, price a token and mix of deployments are each held against the same workload's past: a
price barely moves from day to day while requests do, so a change of 40 % in one is plain where it would drown in the other. A
day is told when a figure is rare beside the most extreme days of its past (costs/foresight/tails.py), and when it matters in
money. A change that stays is told once; after five days it is the new level. Days that were told are no part of the past until
then; but as many requests, or as long ones, as stood out twice in three months are known: a third time is no news.

Requests follow whoever asks, on most of the days that stand out; so they must be a part of the organisation's spending. What a
token costs and who answers was decided by somebody and hardly moves by itself: there far less money is worth a line. A day that
cost less is told only when that is much of the organisation's spending: it costs nobody anything.

The organisation has one allowance of false alarms, however many workloads there are: beside the 35 that the chances were chosen
on, each must be rarer the more of them are judged (Bonferroni), and those that make up much of the spending have a larger part
of the allowance (weighted error control, Genovese, Roeder & Wasserman 2006).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import exp, log
from statistics import median

from costs.foresight.factors import FACTORS, Day, Say, cause, mean, plainly, requests, split, total
from costs.foresight.figures import Beside, Days, Figures
from costs.foresight.tails import Tail, rarity

WINDOW, MEMORY, MIN_PAST, NEW_LEVEL = 28, 91, 10, 5
# logarithms of the chance of a day for one of so many workloads; requests stand out most often
RARE, RARE_VOLUME = -5.0, -6.0
SMALLER = 0.15  # a tenth of the money: 1.4 times as rare
CHOSEN_ON, AT_MOST = 35, 0.5  # few or large workloads are given more by so much at most
ASKED, DECIDED = Tail(0.3, 0.1), Tail(0.1, 0.04)
TAILS = {"requests": ASKED, "tokens": Tail(0.3, 0.04), "price": DECIDED, "mix": DECIDED, "spend": ASKED}
VOLUME = ("requests", "spend")
# These come and go with who asks, so three months of them are looked at.
RECURRING = ("requests", "spend", "tokens")
PART_OF_DAY = 0.15  # of what the day should have cost
# of what the organisation spends on a usual day: as many requests more, a day that cost less, a figure that hardly moves
PART_OF_COMPANY, PART_OF_COMPANY_LESS = 0.002, 0.02
PART_OF_COMPANY_DECIDED = {"tokens": 1e-5, "price": 1e-6, "mix": 1e-6}


@dataclass(frozen=True)
class Finding:
    """Nano-dollars; `factor` is what moved most, `score` how rare it was: one day in ten to the power of it."""

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

    `usual_nusd`: what the whole organisation spends on a usual day; requests that move less than 0.2 % of it are let pass.
    `workloads`: how many are judged side by side.
    `since`: days before it are only learned from. `applications[i]`: requests by application, to name who asked.
    """
    past, found, known_days = _Past(), [], Days(days)
    for t in range(MIN_PAST, len(days)):
        known = _usual(t, past)
        if sum(i >= t - WINDOW for i in known) < MIN_PAST:
            continue
        day = first + timedelta(days=t)
        told = [i for i in past.flagged if t - MEMORY <= i and not past.flagged[i].get("kept")]
        judged = _judge(known_days, known, told, t, day, usual_nusd, workloads, applications, say)
        _remember(past, t, judged.signs)
        if judged.finding is not None and (since is None or day >= since):
            before = past.flagged.get(t - 1, {})
            if any(before.get(name) != sign for name, sign in judged.signs.items()):
                found.append(judged.finding)
    return found


def _usual(t: int, past: _Past) -> list[int]:
    return [i for i in range(max(0, t - MEMORY), t) if i not in past.flagged or past.flagged[i].get("kept")]


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
    days: Days, known: Sequence[int], told: Sequence[int], t: int, day: date, usual_nusd: float,
    workloads: int, applications: Sequence[Mapping[str, float]] | None, say: Say,
) -> _Judged:  # fmt: skip
    recent = [i for i in known if i >= t - WINDOW]
    beside = Beside(days, mean(days.days[i] for i in recent))
    now, figures = beside.figures(t), {i: beside.figures(i) for i in known}
    again = [beside.figures(i) for i in told]
    more = _allowance(workloads, median(days.cost[i] for i in recent), usual_nusd)
    expected_day = _expected_day(beside.usual, {i: figures[i] for i in recent}, t)
    parts = split(expected_day, days.days[t])
    expected, spent = round(total(expected_day)), round(days.cost[t])
    signs, scores = {}, {}
    for name in TAILS:
        past = _past_of(name, figures, recent)
        if (value := now[name]) is None or len(past) < MIN_PAST:
            continue
        before = [v for f in again if (v := f[name]) is not None] if name in RECURRING else []
        chance, side = rarity(value, past, before, TAILS[name])
        usually = expected if name in VOLUME else spent * exp(median(past) - value)
        money = (spent - usually) * side
        if money >= _matters(name, side, usually, usual_nusd) and chance < more + _rare(
            name, money, usual_nusd
        ):
            signs[name], scores[name] = side, -chance / log(10)
    if not signs:
        return _Judged({}, None)
    named = [n for n in signs if n != "spend"]
    if named:  # then it is told by what moved
        signs.pop("spend", None)
    factor = max(named or FACTORS, key=lambda n: abs(parts[n]))
    low, high = _band(expected, {i: figures[i]["spend"] for i in recent})
    who = None
    if applications is not None:
        names = {n for i in (*recent, t) for n in applications[i]}
        who = {
            n: (sum(applications[i].get(n, 0) for i in recent) / len(recent), applications[t].get(n, 0.0)) for n in names
        }  # fmt: skip
    line = cause(expected_day, days.days[t], factor, who, say)
    return _Judged(signs, Finding(day, factor, max(scores.values()), spent, expected, low, high, parts, line))


def _past_of(name: str, figures: Mapping[int, Figures], recent: Sequence[int]) -> list[float]:
    """What a figure was on the days that it is held against."""
    days = figures if name in RECURRING else recent
    return [v for i in days if (v := figures[i][name]) is not None]


def _allowance(workloads: int, own_nusd: float, usual_nusd: float) -> float:
    """What is added to the chance for one of so many workloads that spends this on a usual day, of what the organisation
    spends."""
    share = own_nusd / usual_nusd if usual_nusd > 0 else 0.0
    tests = min(float(workloads), 1 / share if share > 0 else float(workloads)) / CHOSEN_ON
    return -log(max(exp(-AT_MOST), tests))


def _rare(name: str, money: float, usual_nusd: float) -> float:
    """How rare a figure must be that moved so many nano-dollars. Answers get longer or shorter often enough that the smaller
    the sum, the rarer it must be."""
    if name != "tokens":
        return RARE_VOLUME if name in VOLUME else RARE
    return RARE - SMALLER * log(max(1.0, PART_OF_COMPANY * usual_nusd / money))


def _matters(name: str, side: int, usually: float, usual_nusd: float) -> float:
    """Nano-dollars from which on a figure is worth a line. `usually`: what the day would have cost with this figure as ever."""
    part = PART_OF_COMPANY_LESS if side < 0 else PART_OF_COMPANY_DECIDED.get(name, PART_OF_COMPANY)
    return max(1.0, PART_OF_DAY * usually, part * usual_nusd)


def _weekdays(known: Mapping[int, float]) -> dict[int, float]:
    """How far each weekday usually lies from the middle; a weekday seen twice is believed half."""
    middle = median(known.values())
    out = {}
    for place in range(7):
        own = [v - middle for i, v in known.items() if i % 7 == place]
        if len(own) >= 2:
            out[place] = median(own) * len(own) / (len(own) + 2)
    return out


def _expected_day(usual: Day, figures: Mapping[int, Figures], t: int) -> Day:
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
