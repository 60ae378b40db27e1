"""Our closures and our three-valued evaluation against the CEL library, on generated conditions and requests."""

import cel
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.contracts import DeploymentInfo, Facts
from routing.policy.cel import parse, show
from routing.policy.check import check
from routing.policy.compile import CLASS_FACTS, compile_tree
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.facts import CLASSES, ENTITIES, FACTS, empty_facts
from routing.policy.outcomes import possible
from tests.routing.policy import generated
from tests.routing.policy.test_engine import target

WORDS = ("", "a", "support-intent", "txt-base", "e'", 'q"')
TARGETS = (
    target("home", "private"), target("home-2", "private", quality=(0.9, 100)), target("out", "external"),
    target("mini", "external", quality=(0.95, 100)), target("unpriced", "external", billable=False),
)  # fmt: skip
NAMES = [t.name for t in TARGETS] + ["gone"]


def values_of(name):
    fact = FACTS[name]
    if fact.kind == "list":
        return st.lists(st.sampled_from(ENTITIES), max_size=3, unique=True)
    if fact.values:
        return st.sampled_from(fact.values)
    return {
        "string": st.sampled_from(WORDS), "bool": st.booleans(), "int": st.integers(0, 50),
        "double": st.integers(0, 20).map(lambda n: n / 4), "class": st.sampled_from(list(CLASSES)),
    }[fact.kind]  # fmt: skip


@st.composite
def facts(draw):
    whole = empty_facts()
    for name in FACTS:
        group, _, field = name.partition(".")
        whole[group][field] = draw(values_of(name))
    if CLASSES[whole["data"]["sensitivity"]] < CLASSES[whole["workload"]["sensitivity"]]:
        whole["data"]["sensitivity"] = whole["workload"]["sensitivity"]
    return whole


def literal(value, kind):
    if kind == "class":
        return value
    return str(value).lower() if isinstance(value, bool) else repr(value)


@st.composite
def atoms(draw):
    name = draw(st.sampled_from(sorted(FACTS)))
    kind = FACTS[name].kind
    if kind == "list":
        return f"{literal(draw(st.sampled_from(ENTITIES)), 'string')} in {name}"
    if kind == "bool" and draw(st.booleans()):
        return draw(st.sampled_from([name, f"!{name}", f"has({name})"]))
    value = literal(draw(values_of(name)), kind)
    if kind == "string" and draw(st.booleans()) and not FACTS[name].values:
        return f"{name}.{draw(st.sampled_from(['startsWith', 'endsWith', 'contains']))}({value})"
    if draw(st.integers(0, 3)) == 0:
        return f"{name} in [{value}, {literal(draw(values_of(name)), kind)}]"
    orders = ["==", "!="] + (["<", "<=", ">", ">="] if kind in ("int", "double", "class") else [])
    return f"{name} {draw(st.sampled_from(orders))} {value}"


conditions = st.recursive(
    atoms(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: f"({p[0]}) && ({p[1]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"{p[0]} || ({p[1]}) || ({p[2]})"),
        inner.map(lambda p: f"!({p})"),
    ),
    max_leaves=6,
)


def by_library(source, whole, extra=None):
    """The same facts as the library wants them: classes as their ranks."""
    context = {
        group: {k: CLASSES[v] if f"{group}.{k}" in CLASS_FACTS else v for k, v in fields.items()}
        for group, fields in whole.items()
    }
    return cel.evaluate(source, context | dict(CLASSES) | (extra or {}))


every_condition = st.one_of(conditions, generated.conditions(sorted(FACTS)))


@settings(max_examples=150, deadline=None)
@given(every_condition, facts())
def test_closures_and_the_library_agree_on_every_condition(source, whole):
    tree = check(parse(source), invariant=False)
    expected = by_library(source, whole)
    assert bool(compile_tree(tree)(whole)) is expected
    known = {f"{group}.{k}": v for group, fields in whole.items() for k, v in fields.items()}
    assert possible(tree, known) == {expected}
    assert bool(compile_tree(check(parse(show(tree)), invariant=False))(whole)) is expected


@settings(max_examples=120, deadline=None)
@given(every_condition, facts(), st.sets(st.sampled_from(sorted(FACTS))))
def test_what_the_proof_thinks_possible_never_misses_what_happens(source, whole, forgotten):
    tree = check(parse(source), invariant=False)
    known = {f"{group}.{k}": v for group, fields in whole.items() for k, v in fields.items()}
    partly = {name: value for name, value in known.items() if name not in forgotten}
    assert bool(compile_tree(tree)(whole)) in possible(tree, partly)


lists = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True).map(
    lambda names: f"[{', '.join(names)}]"
)
routes = st.one_of(
    lists.map(lambda a: f"prefer: {a}"),
    st.tuples(st.sampled_from(["cheapest", "fastest", "best"]), lists).map(
        lambda p: f"choose: {p[0]}, among: {p[1]}"
    ),
    lists.map(lambda a: f"choose: cheapest, among: {a}, quality_floor: 0.97"),
    lists.map(lambda a: f"split: {{{', '.join(f'{n.strip()}: 0.5' for n in a[1:-1].split(','))}}}"),
    lists.filter(lambda a: "," in a).map(lambda a: f"cascade: {a}, until: 'confidence >= 0.8'"),
)
NEVERS = (
    'data.sensitivity >= confidential && target.side == "external"',
    'hop == "shadow" && target.name.startsWith("out")',
    'hop == "fallback" && target.side == "external" && request.stream',
    'target.side == "private" && "card" in data.entities',
    'target.name == "mini" && (workload.tier == "core" || request.tokens_in > 20)',
)


@settings(max_examples=120, deadline=None)
@given(
    facts(),
    st.lists(st.sampled_from(NEVERS), max_size=3, unique=True),
    conditions,
    routes,
    lists,
    lists,
    st.data(),
)
def test_no_decision_holds_a_hop_that_the_proof_excludes(whole, nevers, when, route, fallback, shadow, data):
    invariants = (
        "".join(f"  - {{name: n{i}, never: {never!r}}}\n" for i, never in enumerate(nevers)) or "  []\n"
    )
    quoted = when.replace("'", "''")
    text = f"rules:\n  - name: r\n    when: '{quoted}'\n    route: {{{route}, fallback: {fallback}, shadow: {shadow}}}\n"
    organisation = parse_document(f"invariants:\n{invariants}default: {{{route}}}\n", organisation=True)
    own = parse_document(text, organisation=False, strict=False)
    policies = CompiledPolicies(Rollout(organisation), {"sales": Rollout(own)})
    whole["workload"]["task"] = "classification"
    whole["request"]["wish"] = data.draw(st.sampled_from(["", *NAMES]))
    costs = {t.name: i for i, t in enumerate(TARGETS)}
    decision = policies.decide(Facts(whole), TARGETS, lob="sales", worst_case=costs, sticky=when)
    again = policies.decide(Facts(whole), TARGETS, lob="sales", worst_case=costs, sticky=when)
    assert decision == again
    by_name = {t.name: t for t in TARGETS}
    used = [(h.deployment, h.hop) for h in decision.hops] + [(s, "shadow") for s in decision.shadows]
    assert decision.hops or decision.refusal
    for name, hop in used:
        assert by_name[name].billable
        assert not _excluded(organisation, nevers, whole, by_name[name], hop), (name, hop)
        assert policies.permits(Facts(whole), by_name[name], hop)


def _excluded(organisation, nevers, whole, chosen: DeploymentInfo, hop):
    """By the proof, all facts known, and by the library: they must agree."""
    known = {f"{group}.{k}": v for group, fields in whole.items() for k, v in fields.items()}
    known |= {f"target.{name}": getattr(chosen, name) for name in ("name", "side", "model", "region")}
    known |= {"hop": hop, "data.masked": False}
    extra = {
        "target": {"name": chosen.name, "side": chosen.side, "model": chosen.model, "region": chosen.region},
        "hop": hop,
    }
    proven = any(True in possible(invariant.tree, known) for invariant in organisation.invariants)
    assert proven == any(by_library(never, whole, extra) for never in nevers)
    return proven
