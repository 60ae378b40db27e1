"""Bills that name no request: by day and model, line by line where lines are calls, else by their sums. Pure."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date

from costs.reconciliation.lines import (
    ROUNDING_NUSD,
    Billed,
    Booked,
    Matched,
    Reprice,
    Unit,
    add_gap,
    classes_of,
    cost_of,
    same_tokens,
    spread,
    tokens_of,
    total_of,
)

# Tokens in, tokens out, nano-dollars.
Figures = tuple[int | None, int | None, int]


def match_days(lines: list[Billed], rows: list[Booked], reprice: Reprice, done: Matched) -> None:
    cells: dict[tuple[date, str], tuple[list[Billed], list[Booked]]] = defaultdict(lambda: ([], []))
    for line in lines:
        cells[(line.at.date(), model_key(line.model))][0].append(line)
    for row in rows:
        cells[(row.at.date(), model_key(row.model))][1].append(row)
    for of_bill, of_books in cells.values():
        once = _without_repeats(of_bill, of_books, done)
        if not _match_lines(once, of_books, done):
            _match_sums(once, tuple(of_books), reprice, done)


def model_key(model: str) -> str:
    """`gpt-4.1-mini-2026-04-14` is `gpt-4.1-mini`; what we ask `txt-edge` for a workload is `txt-edge`."""
    name = model.lower().partition("/")[0].partition("@")[0]
    return re.sub(r"-(\d{4}-\d{2}-\d{2}|\d{8})$", "", name)


def _without_repeats(lines: list[Billed], rows: list[Booked], done: Matched) -> list[Billed]:
    seen: set[tuple[object, ...]] = set()
    once = []
    for line in lines:
        if line.line in seen and line.cost_nusd:
            spread(done, "billed_twice", line, rows, line.cost_nusd, 0)
        else:
            once.append(line)
        seen.add(line.line)
    return once


def _match_lines(lines: list[Billed], rows: list[Booked], done: Matched) -> bool:
    """One line a call: by figures, then by tokens. False when the lines are sums, so that nothing was matched."""
    if (
        any(line.whole_day or (line.requests or 1) > 1 or line.tokens_in is None for line in lines)
        or not rows
    ):
        return False
    exact: Counter[Figures] = Counter((line.tokens_in, line.tokens_out, line.cost_nusd) for line in lines)
    alike: Counter[Figures] = Counter((row.tokens_in, row.tokens_out, row.cost_nusd) for row in rows)
    if 2 * sum((exact & alike).values()) < min(len(lines), len(rows)):
        return False
    pairs, left_lines, left_rows = _pair_alike(lines, rows)
    for line, row in pairs:
        if line.cost_nusd != row.cost_nusd:
            cause = "currency" if line.at_sheet else "price"
            cause = (
                "rounding"
                if abs(line.cost_nusd - row.cost_nusd) <= ROUNDING_NUSD and cause == "price"
                else cause
            )
            add_gap(done, cause, line, (row,), line.cost_nusd, row.cost_nusd)
    for line in left_lines:
        spread(done, "credit" if line.cost_nusd < 0 else "missing", line, rows, line.cost_nusd, 0)
    for row in left_rows:
        if row.cost_nusd:
            add_gap(done, "unbilled", None, (row,), 0, row.cost_nusd)
    return True


def _pair_alike(
    lines: list[Billed], rows: list[Booked]
) -> tuple[list[tuple[Billed, Booked]], list[Billed], list[Booked]]:
    pairs: list[tuple[Billed, Booked]] = []
    for with_cost in (True, False):
        waiting: dict[tuple[object, ...], list[Booked]] = defaultdict(list)
        for row in rows:
            waiting[(row.tokens_in, row.tokens_out, row.cost_nusd if with_cost else None)].append(row)
        rest = []
        for line in lines:
            found = waiting.get((line.tokens_in, line.tokens_out, line.cost_nusd if with_cost else None))
            if found:
                pairs.append((line, found.pop()))
            else:
                rest.append(line)
        lines, rows = rest, [row for members in waiting.values() for row in members]
    return pairs, lines, rows


def _match_sums(lines: list[Billed], unit: Unit, reprice: Reprice, done: Matched) -> None:
    """A day's sums of one model: more or fewer calls, other tokens, another price, in that order."""
    billed, booked = sum(line.cost_nusd for line in lines), cost_of(unit)
    if billed == booked:
        return
    if not lines or not unit:
        cause = "missing" if lines else "unbilled"
        whole = lines[0] if lines else None
        spread(
            done,
            cause if billed >= 0 else "credit",
            whole,
            list(unit),
            billed,
            booked,
            count=max(len(lines), len(unit)),
        )
        return
    whole = replace(
        lines[0], cost_nusd=billed, tokens_in=total_of(lines, "tokens_in"), tokens_out=total_of(lines, "tokens_out"),
        cached_in=total_of(lines, "cached_in"), requests=total_of(lines, "requests"), at_sheet=all(x.at_sheet for x in lines),
    )  # fmt: skip
    bound = ROUNDING_NUSD * len(unit)
    if whole.tokens_in is None or same_tokens(whole, unit):
        cause = "currency" if whole.at_sheet else "rounding" if abs(billed - booked) <= bound else "price"
        spread(done, cause, whole, list(unit), billed, booked, count=len(lines))
        return
    one_price = len({row.price for row in unit}) == 1
    worth = (
        reprice(unit[0], whole.tokens_in, whole.tokens_out or 0, whole.cached_in or 0) if one_price else None
    )
    if worth is None or abs(billed - worth) <= bound:
        worth = billed
    cause, detail = _count_cause(whole, unit)
    if worth != booked:
        spread(done, cause, whole, list(unit), worth, booked, detail, len(lines))
    if worth != billed:
        spread(done, "price", whole, list(unit), billed, worth, count=len(lines))


def _count_cause(whole: Billed, unit: Unit) -> tuple[str, str]:
    """Whether a day's tokens differ because calls do, or because their tokens do."""
    detail = classes_of(whole, unit)
    if whole.requests is not None and whole.requests != len(unit):
        return (
            "missing" if whole.requests > len(unit) else "unbilled"
        ), f"{abs(whole.requests - len(unit))} calls"
    if any(row.estimated for row in unit):
        return "estimated", detail
    tokens_in, tokens_out, _ = tokens_of(unit)
    more = ((whole.tokens_in or 0) > tokens_in, (whole.tokens_out or 0) > tokens_out)
    fewer = ((whole.tokens_in or 0) < tokens_in, (whole.tokens_out or 0) < tokens_out)
    if whole.requests is None and (all(more) or all(fewer)):
        return ("missing" if all(more) else "unbilled"), ""
    return "tokens", detail
