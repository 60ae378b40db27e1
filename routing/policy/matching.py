"""The first rule that matches, with a trace that stays small however long the document is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from routing.contracts import RuleTrace
from routing.policy.compile import Values
from routing.policy.index import RuleIndex, index_of
from routing.policy.rules import Document, Route, Rule

TRACED = 32  # rules before the one that decided, of each document; the others are counted in one line
NO_MATCH = RuleTrace("default", True, "no rule matched")


@dataclass(slots=True)
class Match:
    """`route` None: no rule matched. `shut`: why nothing may leave, when a residency rule could not be evaluated."""

    route: Route | None
    rule: str
    trace: tuple[RuleTrace, ...]
    shut: str = ""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One document ready to be matched. The index finds what evaluating one rule after the other would."""

    document: Document
    index: RuleIndex | None = field(init=False)
    passed: tuple[RuleTrace, ...] = field(init=False)  # by rule: evaluated, not true
    omitted: tuple[RuleTrace, ...] = field(init=False)  # by how many come before the traced ones
    # The trace by the place found, where nothing failed: one object, so that what is made of it is kept by identity.
    traces: dict[int | None, tuple[RuleTrace, ...]] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        rules = self.document.rules
        object.__setattr__(self, "index", index_of(rules))
        object.__setattr__(self, "traces", {})
        object.__setattr__(self, "passed", tuple(rule.traces[False] for rule in rules))
        object.__setattr__(
            self, "omitted", tuple(_omitted(n) for n in range(max(0, len(rules) - TRACED) + 1))
        )

    def first(self, values: Values, failed: list[tuple[int, str]]) -> int | None:
        """The place of the first rule that matches. `failed` takes (place, why) of those that can't be evaluated."""
        if self.index is None:
            return self.first_of(range(len(self.document.rules)), values, failed)
        try:
            bits = self.index.possible(values)
        except Exception:
            return self.first_of(range(len(self.document.rules)), values, failed)
        rules = self.document.rules
        while bits:
            lowest = bits & -bits
            place = lowest.bit_length() - 1
            try:
                if rules[place].matches(values):
                    return place
            except Exception as error:
                failed.append((place, _skipped(error)))
            bits ^= lowest
        return None

    def first_of(self, places: Iterable[int], values: Values, failed: list[tuple[int, str]]) -> int | None:
        """As `first`, by evaluating one after the other."""
        rules = self.document.rules
        for place in places:
            try:
                if rules[place].matches(values):
                    return place
            except Exception as error:
                failed.append((place, _skipped(error)))
        return None

    def trace(self, found: int | None, failed: Sequence[tuple[int, str]]) -> tuple[RuleTrace, ...]:
        """The last TRACED rules before the one found, every failure, one line for the rest, and the one that matched."""
        if not failed:
            known = self.traces.get(found)
            if known is None:
                known = self.traces[found] = self._trace(found, failed)
            return known
        return self._trace(found, failed)

    def _trace(self, found: int | None, failed: Sequence[tuple[int, str]]) -> tuple[RuleTrace, ...]:
        rules = self.document.rules
        end = len(rules) if found is None else found
        start = max(0, end - TRACED)
        lines = self.passed[start:end]
        if failed:
            lines = _with_failures(rules, lines, start, failed)
        if start:
            lines = (self.omitted[start], *lines)
        return lines if found is None else (*lines, rules[found].traces[True])


def matcher_of(document: Document) -> Matcher:
    """Made once for a document: the snapshot is rebuilt for every key, the documents are not."""
    found = document.memo.get("matcher")
    if found is None:
        found = document.memo["matcher"] = Matcher(document)
    return found  # type: ignore[no-any-return]


def _omitted(count: int) -> RuleTrace:
    return RuleTrace(f"({count} earlier rules)", False, "none of them matched")


def _skipped(error: Exception) -> str:
    return f"skipped: {type(error).__name__} in its condition"


def _with_failures(
    rules: Sequence[Rule], lines: tuple[RuleTrace, ...], start: int, failed: Sequence[tuple[int, str]]
) -> tuple[RuleTrace, ...]:
    shown = list(lines)
    earlier: list[RuleTrace] = []
    for place, why in failed:
        line = RuleTrace(rules[place].name, False, why)
        if place >= start:
            shown[place - start] = line
        elif len(earlier) < TRACED:
            earlier.append(line)
    return (*earlier, *shown)


def match(
    matchers: Sequence[Matcher], values: Values, errors: dict[str, int], *, indexed: bool = True
) -> Match:
    """The first match over some documents. A rule that fails is skipped and counted in `errors`; when it tests what the
    data is, nothing may leave any more. `indexed=False` evaluates one rule after the other, for comparison."""
    trace: tuple[RuleTrace, ...] = ()
    shut = ""
    for matcher in matchers:
        failed: list[tuple[int, str]] = []
        rules = matcher.document.rules
        found = (
            matcher.first(values, failed) if indexed else matcher.first_of(range(len(rules)), values, failed)
        )
        for place, _ in failed:
            rule = rules[place]
            errors[rule.name] = errors.get(rule.name, 0) + 1
            if rule.tests_class and not shut:
                shut = f"residency: rule {rule.name!r} tests what the data is and could not be evaluated"
        trace += matcher.trace(found, failed)
        if found is not None:
            return Match(rules[found].route, rules[found].name, trace, shut)
    return Match(None, "default", (*trace, NO_MATCH), shut)


def whole_trace(documents: Sequence[Document], values: Values) -> list[RuleTrace]:
    """Every rule up to the one that decides, each evaluated: what a record's short trace leaves out."""
    lines: list[RuleTrace] = []
    for document in documents:
        for rule in document.rules:
            try:
                matched = bool(rule.matches(values))
            except Exception as error:
                lines.append(RuleTrace(rule.name, False, _skipped(error)))
                continue
            lines.append(rule.traces[matched])
            if matched:
                return lines
    return [*lines, NO_MATCH]
