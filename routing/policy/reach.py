"""Rules that nobody can reach: never true, or always decided by an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from routing.policy.cel import Logic, Node, show
from routing.policy.outcomes import assignments, mentioned, possible, sharp
from routing.policy.rules import Rule
from routing.policy.said import Said, _
from routing.policy.witness import witness

MAX_EVALUATIONS = 100_000  # for the enumeration of one document; what lies beyond is not looked at
Parts = frozenset[str]
_EARLIER = Said(" ") + _("Move it before them, or take it out.")


def unreachable(rules: Sequence[Rule]) -> Iterator[tuple[int, str]]:
    """(index, why) of every dead rule."""
    earlier: list[tuple[Rule, list[Parts]]] = []
    always = ""
    budget = MAX_EVALUATIONS
    for i, rule in enumerate(rules):
        parts = _conjuncts(rule.tree)
        outcomes = sharp(rule.tree)
        if always:
            yield (
                i,
                _("Unreachable: rule %(rule)s before it always matches.") % {"rule": repr(always)} + _EARLIER,
            )
        elif True not in outcomes or _contradictory(rule.tree):
            yield i, _("This condition is never true.") + " " + _("Loosen it, or take the rule out.")
        elif covering := next((e.name for e, ways in earlier if any(way <= parts for way in ways)), ""):
            yield (
                i,
                _("Unreachable: rule %(rule)s before it matches whenever this one does.")
                % {"rule": repr(covering)}
                + _EARLIER,
            )
        elif budget > 0:
            covered, used = _covered(rule.tree, [e for e, _ in earlier], budget)
            budget -= used
            if covered:
                yield i, _("Unreachable: the rules before it match whenever this one does.") + _EARLIER
        if outcomes == {True} and not always:
            always = rule.name
        earlier.append((rule, _ways(rule.tree)))


def _contradictory(tree: Node) -> bool:
    """Whether surely no request fulfils it, numbers and words included: `x > 10 && x < 5`."""
    search = witness({}, [(tree, True)])
    return search.found is None and search.sure


def _conjuncts(tree: Node) -> Parts:
    """What must hold together: `a && b` is {a, b}."""
    if isinstance(tree, Logic) and tree.op == "&&":
        return frozenset().union(*map(_conjuncts, tree.parts))
    return frozenset([show(tree)])


def _ways(tree: Node) -> list[Parts]:
    """What suffices: `a || b && c` is [{a}, {b, c}]. A rule whose conjuncts hold one of these is covered."""
    whole = [frozenset([show(tree)])]
    if isinstance(tree, Logic) and tree.op == "||":
        return whole + [way for part in tree.parts for way in _ways(part)]
    return [*whole, _conjuncts(tree)]


def _covered(tree: Node, earlier: Sequence[Rule], budget: int) -> tuple[bool, int]:
    """Whether for each combination of the finite facts some earlier rule surely matches; and evaluations spent."""
    used = 0
    for known in assignments(mentioned(tree)):
        used += 1
        if True not in possible(tree, known):
            continue
        for rule in earlier:
            used += 1
            if possible(rule.tree, known) == {True}:
                break
        else:
            return False, used
        if used > budget:
            return False, used
    return True, used
