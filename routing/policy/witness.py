"""A whole request that makes some conditions true and others false: what turns "it may" into "this one does".

Each fact that the conditions test is tried at one value for every way their constants cut it (on, below and above a number;
each word they name, and another; each entity they name, found or not), which is all there is to try unless two facts are
compared with each other or a part of a word is asked for. Branches that can no longer come out as wanted are left.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from routing.policy.cel import Compare, Has, Items, Literal, Logic, Method, Node, Not, Path
from routing.policy.facts import FACTS, TARGET_FACTS, FactType
from routing.policy.outcomes import Partly, mentioned, possible

MOST_STEPS = 3_000
OTHER = "something-else"
Wanted = tuple[Node, bool]
Known = Mapping[str, Any]
Choice = tuple[str, str, Sequence[Any]]  # a fact, of a list an item, and what is tried


@dataclass(slots=True)
class Search:
    """`found`: values of the facts that were free, or None. `sure`: when there is none, that there can be none."""

    found: dict[str, Any] | None = None
    sure: bool = True
    steps: int = field(default=0, repr=False)


def witness(known: Known, wanted: Sequence[Wanted]) -> Search:
    """Look for values of all other facts for which every condition comes out as wanted."""
    open_ = [(tree, outcome) for tree, outcome in wanted if possible(tree, known) != {outcome}]
    search = Search()
    if any(outcome not in possible(tree, known) for tree, outcome in open_):
        return search
    free = sorted({name for tree, _ in open_ for name in mentioned(tree)} - known.keys())
    constants: dict[str, set[Any]] = {name: set() for name in free}
    for tree, _ in open_:
        search.sure &= _collect(tree, constants)
    choices = [choice for name in free for choice in _choices(name, constants[name])]
    choices.sort(key=lambda choice: len(choice[2]))
    _descend(dict(known) | _lists(free), choices, open_, search)
    if search.found is not None:
        search.found = {name: search.found[name] for name in free}
    return search


def _choices(name: str, constants: set[Any]) -> Iterator[Choice]:
    """What is to be chosen of one fact: its value, or of a list, for each item that is asked for, whether it is there."""
    fact = FACTS.get(name) or TARGET_FACTS[name]
    if fact.kind == "list":
        yield from ((name, item, (False, True)) for item in sorted(constants))
    else:
        yield name, "", _tried(fact, constants)


def _lists(free: Iterable[str]) -> dict[str, Partly]:
    return {name: Partly() for name in free if name in FACTS and FACTS[name].kind == "list"}


def _descend(
    known: dict[str, Any], choices: Sequence[Choice], wanted: Sequence[Wanted], search: Search
) -> None:
    search.steps += 1
    if search.steps > MOST_STEPS:
        search.sure = False
        return
    if not choices:
        known = {name: _whole(value) for name, value in known.items()}
    if any(outcome not in possible(tree, known) for tree, outcome in wanted):
        return
    if not choices:
        search.found = known
        return
    name, item, values = choices[0]
    before = known.get(name)
    for value in values:
        known[name] = before.also(item, value) if isinstance(before, Partly) else value
        _descend(known, choices[1:], wanted, search)
        if search.found is not None or search.steps > MOST_STEPS:
            break
    if before is None:
        del known[name]
    else:
        known[name] = before


def _whole(value: Any) -> Any:
    return tuple(sorted(value.present)) if isinstance(value, Partly) else value


def _collect(node: Node, constants: dict[str, set[Any]]) -> bool:
    """Take the constants each fact is compared with. False when that isn't all there is to know."""
    match node:
        case Not(inner=inner):
            return _collect(inner, constants)
        case Logic(parts=parts):
            taken = [
                _collect(part, constants) for part in parts
            ]  # each, also after one that isn't all there is
            return all(taken)
        case Method(subject=Path(name=name), argument=argument):
            constants.get(name, set()).update((argument, argument + OTHER, OTHER + argument))
            return False
        case Compare(left=left, right=right):
            taken = [_paired(left, right, constants), _paired(right, left, constants)]
            return all(taken)
        case Path() | Literal() | Has():
            return True
    return False


def _paired(fact: Node, other: Node, constants: dict[str, set[Any]]) -> bool:
    if not isinstance(fact, Path) or (fact.name not in FACTS and fact.name not in TARGET_FACTS):
        return not isinstance(fact, Compare | Logic | Not)
    found = constants.get(fact.name)
    items = other.items if isinstance(other, Items) else (other,)
    for item in items:
        if isinstance(item, Literal) and found is not None:
            found.add(item.value)
    return all(isinstance(i, Literal) or (isinstance(i, Path) and i.name not in FACTS) for i in items)


def _tried(fact: FactType, constants: Iterable[Any]) -> list[Any]:
    if fact.values is not None:
        return list(fact.values)
    if fact.kind == "string":
        return [*sorted(c for c in constants if isinstance(c, str)), OTHER, ""]
    most = math.inf if fact.most is None else fact.most
    ends = (
        {0} if fact.most is None else {0, fact.most}
    )  # below the least constant and above the greatest there may be room
    numbers = sorted({c for c in constants if not isinstance(c, str | bool)} | ends)
    near = {n + d for n in numbers for d in (-1, 0, 1)}
    if fact.kind == "int":
        near = {n for n in near if isinstance(n, int)} | {int(n) + d for n in numbers for d in (0, 1)}
    else:
        near |= {(a + b) / 2 for a, b in itertools.pairwise(numbers)}
    return sorted(n for n in near if 0 <= n <= most)
