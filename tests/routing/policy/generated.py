"""Hypothesis strategies: policies, requests and deployments of every kind, drawn from small pools so that they meet."""

from typing import Any

from hypothesis import strategies as st

from costs.contracts import NodeRate, PriceSheet
from routing.contracts import DeploymentInfo, Facts
from routing.policy.cel import parse
from routing.policy.check import check
from routing.policy.compile import compile_tree
from routing.policy.document import _route as read_route
from routing.policy.facts import CLASS_NAMES, ENTITIES, FACTS, HOPS, TARGET_FACTS, empty_facts
from routing.policy.rules import Document, Invariant, Route, Rule
from routing.policy.source import Faults, Source

NAMES = ("a", "b", "c", "d")
TARGETS = ("home", "home-2", "out", "mini", "gone")
NUMBERS = (0, 1, 5, 50, 0.5, 7, 23)
RULE_FACTS = sorted(FACTS)
KNOWN = {**FACTS, **TARGET_FACTS}


def literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


@st.composite
def pairs(draw: Any, names: list[str]) -> str:
    """What only the language itself promises: facts compared with facts, lists that hold facts, truth values compared."""
    name = draw(st.sampled_from(names))
    kind = KNOWN[name].kind
    numbers = ("int", "double")
    alike = [n for n, f in KNOWN.items() if f.kind == kind or (kind in numbers and f.kind in numbers)]
    alike = [n for n in alike if n in FACTS or n in names]  # rules test no target
    other = draw(st.sampled_from(alike))
    way = draw(st.integers(0, 3))
    if kind == "list" or way == 0:
        return f"has({name})"
    if way == 1:
        ops = ["==", "!="] if kind in ("string", "bool") else ["==", "!=", "<", "<=", ">", ">="]
        return f"{name} {draw(st.sampled_from(ops))} {other}"
    if way == 2:
        return f"{name} in [{other}, {draw(st.sampled_from(alike))}]"
    return f"({draw(simple(names))}) {draw(st.sampled_from(['==', '!=']))} ({draw(simple(names))})"


def atoms(names: list[str]) -> st.SearchStrategy[str]:
    return st.one_of(simple(names), simple(names), simple(names), pairs(names))


@st.composite
def simple(draw: Any, names: list[str]) -> str:
    name = draw(st.sampled_from(names))
    fact = KNOWN[name]
    negated = draw(st.booleans())
    match fact.kind:
        case "bool":
            return f"{'!' if negated else ''}{name}"
        case "list":
            return f'"{draw(st.sampled_from(ENTITIES))}" in {name}'
        case "class":
            if draw(st.booleans()):
                some = draw(st.lists(st.sampled_from(CLASS_NAMES), min_size=1, max_size=3, unique=True))
                return f"{name} in [{', '.join(some)}]"
            op = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
            value = draw(st.sampled_from(CLASS_NAMES))
            return f"{name} {op} {value}" if draw(st.booleans()) else f"{value} {op} {name}"
        case "string":
            values = (
                [str(v) for v in fact.values]
                if fact.values
                else list(TARGETS if name == "target.name" else NAMES)
            )
            if draw(st.integers(0, 5)) == 0:
                return f'{name}.{draw(st.sampled_from(["startsWith", "endsWith", "contains"]))}("a")'
            if draw(st.booleans()):
                some = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
                return f"{name} in [{', '.join(map(literal, some))}]"
            return f"{name} {'!=' if negated else '=='} {literal(draw(st.sampled_from(values)))}"
    op = draw(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]))
    value = draw(st.sampled_from(NUMBERS))
    return f"{name} {op} {value}" if draw(st.booleans()) else f"{value} {op} {name}"


def conditions(names: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        atoms(names),
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=4).map(lambda p: "(" + " && ".join(p) + ")"),
            st.lists(inner, min_size=2, max_size=4).map(lambda p: "(" + " || ".join(p) + ")"),
            inner.map(lambda p: f"!({p})"),
        ),
        max_leaves=6,
    )


some_targets = st.lists(st.sampled_from(TARGETS), min_size=1, max_size=4, unique=True)


@st.composite
def routes(draw: Any, targets: st.SearchStrategy[list[str]] = some_targets) -> dict[str, Any]:
    kind = draw(st.sampled_from(["prefer", "choose", "split", "cascade", "deny"]))
    if kind == "deny":
        return {"deny": True}
    named = draw(targets)
    route: dict[str, Any] = {}
    if kind == "prefer" or (kind == "cascade" and len(named) < 2):
        route["prefer"] = named
    elif kind == "cascade":
        route |= {"cascade": named, "until": "confidence >= 0.8"}
    elif kind == "split":
        route["split"] = {name: draw(st.sampled_from([0.1, 1, 3])) for name in named}
        if draw(st.booleans()):
            route["sticky"] = draw(st.sampled_from(["caller", "lob.application", "workload.name"]))
    else:
        route |= {"choose": draw(st.sampled_from(["cheapest", "fastest", "best"])), "among": named}
        if draw(st.booleans()):
            route["quality_floor"] = draw(st.sampled_from([0.5, 0.96, "abs:0.8"]))
        if draw(st.booleans()):
            route["learned"] = True
    for extra, value in (("fallback", draw(some_targets)), ("shadow", draw(some_targets)), ("mask", True),
                         ("cache", {"ttl_s": 60, "semantic": 0.9}), ("max_cost_usd", "0.01")):  # fmt: skip
        if draw(st.integers(0, 3)) == 0:
            route[extra] = value
    return route


def rule_of(name: str, when: str, route: Route) -> Rule:
    tree = check(parse(when), invariant=False)
    return Rule(name, when, tree, compile_tree(tree), route)


def invariant_of(name: str, never: str) -> Invariant:
    tree = check(parse(never), invariant=True)
    return Invariant(name, never, tree, compile_tree(tree))


def route_of(item: dict[str, Any]) -> Route:
    faults = Faults(Source())
    route = read_route(item, "", faults)
    faults.raise_if_any()
    assert route is not None
    return route


def whens(names: list[str]) -> st.SearchStrategy[str]:
    """Mostly few facts joined, as people write them; now and then anything."""
    few = st.lists(atoms(names), min_size=1, max_size=3).map(" && ".join)
    return st.one_of(few, few, conditions(names))


@st.composite
def documents(
    draw: Any, *, organisation: bool, most: int = 14, names: list[str] = RULE_FACTS, label: str = "org@1"
) -> Document:
    """A document whose rules test only a few facts, so that they compete for the same requests."""
    tested = draw(st.lists(st.sampled_from(names), min_size=2, max_size=5, unique=True))
    rules = tuple(
        rule_of(f"r{i}", when, route_of(draw(routes())))
        for i, when in enumerate(draw(st.lists(whens(tested), max_size=most)))
    )
    if not organisation:
        return Document(rules, hash="b" * 64, label=label)
    nevers = draw(
        st.lists(
            conditions(["data.sensitivity", *sorted(TARGET_FACTS), draw(st.sampled_from(names))]), max_size=3
        )
    )
    invariants = tuple(invariant_of(f"never {i}", never) for i, never in enumerate(nevers))
    default = draw(st.one_of(st.just(Route("deny")), routes().map(route_of)))
    return Document(rules, invariants, default, "a" * 64, label)


@st.composite
def deployments(draw: Any) -> list[DeploymentInfo]:
    found = []
    for name in TARGETS[:-1]:
        side = "private" if name.startswith("home") else "external"
        billable = draw(st.integers(0, 6)) > 0
        tasks = frozenset(
            draw(
                st.sampled_from([("classification",), ("chat",), ("classification", "chat"), ("embedding",)])
            )
        )
        found.append(DeploymentInfo(
            name=name, organisation_id=1, side=side, base_url="http://x/v1", api_key="", model=draw(st.sampled_from(NAMES)),
            tasks=tasks, lobs=frozenset(draw(st.sampled_from([(), (), ("a",), ("b",)]))), region=draw(st.sampled_from(("", "a"))),
            max_output_tokens=100, max_concurrency=1, heads=draw(st.booleans()),
            prices=PriceSheet("p") if billable and side == "external" else None,
            rate=NodeRate("n", "node", 1) if billable and side == "private" else None,
            quality={n: (draw(st.sampled_from([0.5, 0.85, 0.9])), draw(st.sampled_from([10, 30, 500]))) for n in NAMES[:2]},
            resting={"a": draw(st.sampled_from([0, 50]))} if draw(st.integers(0, 4)) == 0 else {},
            usual_accelerator_ns={"a": draw(st.sampled_from([10, 20]))} if draw(st.booleans()) else {},
        ))  # fmt: skip
    return draw(st.lists(st.sampled_from(found), min_size=0, max_size=4, unique_by=lambda d: d.name))


def value_of(name: str) -> st.SearchStrategy[Any]:
    fact = KNOWN[name]
    match fact.kind:
        case "bool":
            return st.booleans()
        case "list":
            return st.lists(st.sampled_from(ENTITIES), max_size=3, unique=True).map(tuple)
        case "class":
            return st.sampled_from(CLASS_NAMES)
        case "string":
            return st.sampled_from([*(fact.values or NAMES), ""]) if name != "hop" else st.sampled_from(HOPS)
    return st.sampled_from([*NUMBERS, 3, 0.25, 100, 2**60])


@st.composite
def requests(draw: Any, *, broken: bool = False) -> Facts:
    """Whole facts; with `broken` now and then one is missing or of another type."""
    values = empty_facts()
    for name in RULE_FACTS:
        group, _, field = name.partition(".")
        if draw(st.integers(0, 2)):
            values[group][field] = draw(value_of(name))
    if draw(st.booleans()):
        values["workload"]["task"] = "classification"
    values["request"]["wish"] = draw(st.sampled_from(["", "", *TARGETS]))
    if broken and draw(st.booleans()):
        keep = (
            "request.wish",
            "workload.task",
            "workload.name",
            "lob.application",
        )  # decide itself reads these
        odd = st.sampled_from(["data.sensitivity", *(n for n in RULE_FACTS if n not in keep)])
        for name in draw(st.lists(odd, min_size=1, max_size=3)):
            group, _, field = name.partition(".")
            if draw(st.booleans()):
                values[group].pop(field, None)
            else:
                values[group][field] = draw(st.sampled_from([None, "odd", 5, (), float("nan"), ["x"]]))
    return Facts(values)


costs = st.dictionaries(st.sampled_from(TARGETS), st.integers(0, 5), max_size=5)
scores = st.one_of(st.none(), st.dictionaries(st.sampled_from(TARGETS), st.floats(0, 1), max_size=4))
