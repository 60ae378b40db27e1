"""Bill against books, line by line: every gap with its cause, and what would close it. Pure, integer nano-dollars.

By request id where the bill names one (several attempts may share a call), else by day and model. Whatever the causes,
the gaps sum to billed less booked exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date

from costs.reconciliation.days import match_days
from costs.reconciliation.lines import (
    CLAIMS,
    ROUNDING_NUSD,
    Billed,
    Booked,
    Fix,
    Gap,
    Matched,
    Reprice,
    Unit,
    add_gap,
    classes_of,
    cost_of,
    same_tokens,
    tokens_of,
)
from switchyard.core.money import largest_remainder

SAMPLES = 5


def match(billed: Iterable[Billed], booked: Iterable[Booked], reprice: Reprice) -> Matched:
    """Lines that name a request by it, the others by day and model with what is left of the books."""
    done = Matched()
    by_id, nameless = _by_id(billed)
    units: dict[str, list[Booked]] = defaultdict(list)
    for row in booked:
        units[row.id].append(row)
    left = [row for key, rows in units.items() if key not in by_id for row in rows]
    for key, lines in by_id.items():
        _match_call(lines, units.get(key, []), reprice, done)
    if nameless:
        match_days(nameless, left, reprice, done)
    else:
        for row in left:
            _unbilled((row,), done)
    return done


def findings(gaps: Iterable[Gap]) -> list[dict[str, object]]:
    """Gaps by day, model, line of business and cause, dearest first; plain values that JSON holds."""
    groups: dict[tuple[date, str, str, str, str], list[Gap]] = defaultdict(list)
    for gap in gaps:
        groups[(gap.day, gap.model, gap.lob, gap.cause, gap.detail)].append(gap)
    rows: list[dict[str, object]] = []
    for (day, model, lob, cause, detail), members in groups.items():
        billed, booked = sum(g.billed_nusd for g in members), sum(g.booked_nusd for g in members)
        rows.append({
            "day": day.isoformat(), "model": model, "lob": lob, "cause": cause, "detail": detail,
            "rows": sum(g.rows for g in members), "billed_nusd": billed, "booked_nusd": booked, "gap_nusd": billed - booked,
            "claim": cause in CLAIMS, "samples": list(dict.fromkeys(g.sample for g in members if g.sample))[:SAMPLES],
        })  # fmt: skip
    return sorted(
        rows, key=lambda r: (-abs(int(str(r["gap_nusd"]))), str(r["day"]), str(r["model"]), str(r["cause"]))
    )


def _by_id(billed: Iterable[Billed]) -> tuple[dict[str, list[Billed]], list[Billed]]:
    by_id: dict[str, list[Billed]] = defaultdict(list)
    nameless: list[Billed] = []
    for line in billed:
        (by_id[line.id] if line.id else nameless).append(line)
    return by_id, nameless


# ------------------------------------------------------------------------------------------------- by request
def _match_call(lines: list[Billed], rows: list[Booked], reprice: Reprice, done: Matched) -> None:
    """All that was billed under one id against all that was booked under it."""
    shared = len({row.request_id for row in rows}) > 1
    units: list[Unit] = [tuple(rows)] if shared else [(row,) for row in rows]
    pairs, extra_lines, extra_units = _pair(lines, units)
    for line, unit in pairs:
        _compare(line, unit, reprice, done)
    known = {line.content for line, _ in pairs}
    lob = rows[0].lob if rows else ""
    for line in extra_lines:
        _unbooked(line, lob, "billed_twice" if line.content in known else "missing", done)
        known.add(line.content)
    booked = {unit[0].content for _, unit in pairs}
    for unit in extra_units:
        if unit[0].content in booked and unit[0].cost_nusd:
            add_gap(done, "booked_twice", None, unit, 0, cost_of(unit))
            done.fixes.append(Fix("booked_twice", 0, 0, 0, ref=unit[0].ref))
        else:
            _unbilled(unit, done)


def _pair(
    lines: list[Billed], units: list[Unit]
) -> tuple[list[tuple[Billed, Unit]], list[Billed], list[Unit]]:
    """Each line with the unit most like it: same figures, then same tokens, then anything that cost, then anything. A credit is
    nobody's answer, whatever its tokens."""
    rules: Sequence[Callable[[Billed, Unit], bool]] = (
        lambda line, unit: line.cost_nusd == cost_of(unit) and same_tokens(line, unit),
        lambda line, unit: line.cost_nusd >= 0 and same_tokens(line, unit),
        lambda line, unit: line.cost_nusd >= 0 and cost_of(unit) > 0,
        lambda line, unit: line.cost_nusd >= 0,
    )
    pairs, lines, units = [], list(lines), list(units)
    for rule in rules:
        for line in list(lines):
            found = next((unit for unit in units if rule(line, unit)), None)
            if found is not None:
                pairs.append((line, found))
                lines.remove(line)
                units.remove(found)
    return pairs, lines, units


def _compare(line: Billed, unit: Unit, reprice: Reprice, done: Matched) -> None:
    booked, bound = cost_of(unit), ROUNDING_NUSD * len(unit)
    gap = line.cost_nusd - booked
    if gap == 0:
        return
    if booked == 0 and tokens_of(unit) == (0, 0, 0):
        cause, detail = "missing", "it failed here, and was answered there"
    elif any(row.estimated for row in unit):
        cause, detail = "estimated", ""
    elif same_tokens(line, unit) or line.tokens_in is None:
        cause = "currency" if line.at_sheet else "rounding" if abs(gap) <= bound else "price"
        detail = "" if line.tokens_in is not None or cause != "price" else "the bill tells no tokens"
    else:
        _other_tokens(line, unit, reprice, bound, done)
        return
    add_gap(done, cause, line, unit, line.cost_nusd, booked, detail)
    if cause not in CLAIMS:
        done.fixes += _fixes(cause, line, unit, line.cost_nusd)


def _other_tokens(line: Billed, unit: Unit, reprice: Reprice, bound: int, done: Matched) -> None:
    """Other tokens are one gap, another price on top of them a second one."""
    booked, detail = cost_of(unit), classes_of(line, unit)
    worth = reprice(unit[0], line.tokens_in or 0, line.tokens_out or 0, line.cached_in or 0)
    if worth is None or abs(line.cost_nusd - worth) <= bound:
        worth = line.cost_nusd
    if worth != booked:
        add_gap(done, "tokens", line, unit, worth, booked, detail)
        done.fixes += _fixes("tokens", line, unit, worth)
    if worth != line.cost_nusd:
        add_gap(done, "price", line, unit, line.cost_nusd, worth)


def _unbooked(line: Billed, lob: str, cause: str, done: Matched) -> None:
    if line.cost_nusd == 0:
        return
    cause = "credit" if line.cost_nusd < 0 else cause
    done.gaps.append(Gap(line.at.date(), line.model, lob, cause, line.cost_nusd, 0, "", line.id))
    if cause == "missing":
        fix = Fix(cause, line.cost_nusd, line.tokens_in or 0, line.tokens_out or 0, id=line.id)
        done.fixes.append(replace(fix, at=line.at, model=line.model, lob=lob))


def _unbilled(unit: Unit, done: Matched) -> None:
    if cost_of(unit):
        add_gap(done, "unbilled", None, unit, 0, cost_of(unit))
        done.fixes += [Fix("unbilled", 0, 0, 0, ref=row.ref) for row in unit if row.cost_nusd]


def _fixes(cause: str, line: Billed, unit: Unit, cost_nusd: int) -> list[Fix]:
    """The unit's attempts share the line: cost by what they were booked at, tokens by their own."""
    tokens_in = sum(r.tokens_in for r in unit) if line.tokens_in is None else line.tokens_in
    tokens_out = sum(r.tokens_out for r in unit) if line.tokens_out is None else line.tokens_out
    shares = [
        largest_remainder(total, weights if sum(weights) else [1] * len(unit))
        for total, weights in (
            (cost_nusd, [r.cost_nusd for r in unit]),
            (tokens_in, [r.tokens_in for r in unit]),
            (tokens_out, [r.tokens_out for r in unit]),
        )
    ]
    return [
        Fix(cause, cost, t_in, t_out, ref=row.ref)
        for row, cost, t_in, t_out in zip(unit, *shares, strict=True)
        if (cost, t_in, t_out) != row.content
    ]
