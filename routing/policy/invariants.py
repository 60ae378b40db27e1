"""What must never happen, made cheap to ask: an invariant is worked out once for each target and hop, and what is left
of it, which tests the request alone, is evaluated once a request."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from routing.contracts import DeploymentInfo, Facts, Hop
from routing.policy.cel import Compare, Items, Literal, Logic, Method, Node, Not, Path, show
from routing.policy.compile import Closure, Values, compile_tree
from routing.policy.facts import KEEPER, MASKED
from routing.policy.outcomes import mentioned, possible
from routing.policy.rules import Invariant

log = logging.getLogger(__name__)
Known = Mapping[str, Any]
TRUE, FALSE = Literal(True, 1), Literal(False, 1)
_NEVER_OUT = Compare("==", Path("target.side", 1), Literal("external", 1), 1)
# Without an organisation's policy nothing is known to be allowed out.
CLOSED = Invariant(
    "no organisation policy is live", 'target.side == "external"', _NEVER_OUT, compile_tree(_NEVER_OUT)
)


def specialise(tree: Node, known: Known) -> Node:
    """The condition with some facts known: what they decide is gone, and a literal is left where they decide it all.

    An error beside a decisive part is that part, as everywhere in CEL, so dropping the other part changes no outcome.
    """
    names = mentioned(tree)
    if names <= known.keys():
        return TRUE if True in possible(tree, known) else FALSE
    match tree:
        case Not(inner=inner):
            left = specialise(inner, known)
            return (FALSE if left.value else TRUE) if isinstance(left, Literal) else replace(tree, inner=left)
        case Logic(op=op, parts=parts):
            decisive = op == "||"
            kept = []
            for part in (specialise(part, known) for part in parts):
                if not isinstance(part, Literal):
                    kept.append(part)
                elif part.value is decisive:
                    return part
            if not kept:
                return FALSE if decisive else TRUE
            return kept[0] if len(kept) == 1 else replace(tree, parts=tuple(kept))
    return _filled(tree, known) if not names.isdisjoint(known) else tree


def _filled(node: Node, known: Known) -> Node:
    """Known facts of a comparison as literals."""
    match node:
        case Path(name=name) if name in known:
            return Literal(known[name], node.column)
        case Items(items=items):
            return replace(node, items=tuple(_filled(item, known) for item in items))
        case Compare(left=left, right=right):
            return replace(node, left=_filled(left, known), right=_filled(right, known))
        case Not() | Logic() | Method():
            return specialise(node, known)
    return node


@dataclass(frozen=True, slots=True)
class Residual:
    """What is left of an invariant for one target and hop: `place` of a test of the request, or None = always broken."""

    name: str
    place: int | None


class InvariantSet:
    """The invariants of an organisation. Facts go in with each question; nothing of a request is kept."""

    def __init__(self, invariants: Sequence[Invariant]) -> None:
        self.invariants = tuple(invariants)
        self._places: dict[str, int] = {}
        self.tests: list[tuple[str, Closure]] = []  # by place: the name it first stood under, the test
        self._residuals: dict[tuple[Any, ...], tuple[Residual, ...]] = {}

    def residuals(self, target: DeploymentInfo | None, hop: Hop, masked: bool) -> tuple[Residual, ...]:
        """What must be asked of a request before this target may have it on this hop; no target = we keep it ourselves."""
        seen = KEEPER.values() if target is None else (target.name, target.side, target.model, target.region)
        key = (*seen, hop, masked)
        found = self._residuals.get(key)
        if found is None:
            found = self._residuals[key] = tuple(self._left(known_of(*key)))
        return found

    def _left(self, known: Known) -> list[Residual]:
        left = []
        for invariant in self.invariants:
            tree = specialise(invariant.tree, known)
            if not isinstance(tree, Literal):
                left.append(Residual(invariant.name, self._place(invariant.name, tree)))
            elif tree.value:
                left.append(Residual(invariant.name, None))
        return left

    def _place(self, name: str, tree: Node) -> int:
        shown = show(tree)
        if shown not in self._places:
            self._places[shown] = len(self.tests)
            self.tests.append((name, compile_tree(tree)))
        return self._places[shown]

    def outcome(self, place: int, values: Values) -> bool | None:
        """Whether the test forbids this request; None when it can't be evaluated."""
        name, test = self.tests[place]
        try:
            return bool(test(values))
        except Exception:
            log.exception("invariant %r could not be evaluated: closed", name)
            return None

    def broken(
        self, facts: Facts, target: DeploymentInfo | None, hop: Hop, *, masked: bool = False
    ) -> str | None:
        """The name of an invariant that forbids this hop. An error in evaluating one forbids it too."""
        for residual in self.residuals(target, hop, masked):
            if residual.place is None:
                return residual.name
            outcome = self.outcome(residual.place, facts.values)
            if outcome is not False:
                return breaks(residual, outcome)
        return None


def broken_invariant(
    invariants: Sequence[Invariant],
    facts: Facts,
    target: DeploymentInfo | None,
    hop: Hop,
    *,
    masked: bool = False,
) -> str | None:
    """As `InvariantSet.broken`, by evaluating each invariant whole: for questions asked once."""
    seen = KEEPER if target is None else {
        "name": target.name, "side": target.side, "model": target.model, "region": target.region
    }  # fmt: skip
    values = {**facts.values, "target": seen, "hop": hop, "masked": masked}
    for invariant in invariants:
        try:
            if invariant.forbids(values):
                return invariant.name
        except Exception:
            log.exception("invariant %r could not be evaluated: closed", invariant.name)
            return f"{invariant.name} (could not be evaluated)"
    return None


def known_of(name: str, side: str, model: str, region: str, hop: str, masked: bool) -> dict[str, Any]:
    """The facts of one target on one hop, by their dotted names."""
    return {
        "target.name": name, "target.side": side, "target.model": model, "target.region": region, "hop": hop,
        MASKED: masked,
    }  # fmt: skip


def breaks(residual: Residual, outcome: bool | None) -> str | None:
    """The name to tell when the hop is closed by this one."""
    if residual.place is None or outcome:
        return residual.name
    return None if outcome is False else f"{residual.name} (could not be evaluated)"
