import pytest

from routing.policy.cel import MAX_DEPTH, CelError, parse, show
from routing.policy.check import check
from routing.policy.compile import compile_tree
from routing.policy.facts import empty_facts


def evaluate(source, **facts):
    values = empty_facts()
    for path, value in facts.items():
        group, _, name = path.partition("__")
        values[group][name] = value
    return compile_tree(check(parse(source), invariant=False))(values)


def refused(source, *, invariant=False):
    with pytest.raises(CelError) as error:
        check(parse(source), invariant=invariant)
    return error.value


def test_classes_are_ordered_constants():
    assert evaluate("data.sensitivity >= confidential", data__sensitivity="restricted")
    assert not evaluate("data.sensitivity >= confidential", data__sensitivity="internal")
    assert evaluate("data.sensitivity in [public, internal]", data__sensitivity="public")


def test_a_class_in_quotes_is_the_same_class():
    assert evaluate('data.sensitivity >= "confidential"', data__sensitivity="restricted")
    assert evaluate('data.sensitivity in ["public", "internal"]', data__sensitivity="internal")
    assert "Did you mean confidential?" in refused('data.sensitivity == "confidental"').message


def test_and_binds_tighter_than_or_and_not_tighter_than_both():
    tree = parse("!request.stream && request.has_tools || request.stream")
    assert show(tree) == "(!(request.stream) && request.has_tools) || request.stream"


def test_strings_lists_numbers_and_text_methods():
    assert evaluate(
        'request.model.startsWith("support") && request.model.contains("int")',
        request__model="support-intent",
    )
    assert evaluate('"email" in data.entities', data__entities=["email"])
    assert evaluate(
        "request.difficulty > 0.5 && request.tokens_in <= 10", request__difficulty=0.75, request__tokens_in=10
    )
    assert evaluate("budget.used_pct >= 80", budget__used_pct=80.0)
    assert evaluate("has(data.entities)")


def test_an_unknown_field_is_refused_with_its_column_and_a_suggestion_also_behind_an_or():
    error = refused("request.stream || workload.teir == 'core'")
    assert error.column == 19
    assert "Did you mean workload.tier?" in error.message


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("request.stream == 'yes'", "bool can't be compared with a string"),
        ("request.tokens_in", "must be true or false"),
        ("request.model < 'a'", "orders numbers and classes"),
        ("workload.tier == 'cor'", "Did you mean core?"),
        ("'emial' in data.entities", "Did you mean email?"),
        ("request.tokens_in in data.entities", "needs a list"),
        ("!request.tokens_in > 5", "found a int"),
        ("target.side == 'external'", "in invariants only"),
        ("request.tokens_in.contains('a')", "text only"),
        ("request.model.matches('a+')", "Unknown method"),
        ("request.tokens_in > 99999999999999999999", "larger than a number may be"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(source, word):
    assert word in refused(source).message


@pytest.mark.parametrize(
    "source", ["", "request.stream &&", "(request.stream", "a b", "'open", "1 ==", "[1, 2", "@", "has(1)"]
)
def test_broken_expressions_name_a_column(source):
    with pytest.raises(CelError) as error:
        check(parse(source), invariant=False)
    assert error.value.column >= 1


@pytest.mark.parametrize(
    "bomb", ["(" * 900 + "true" + ")" * 900, "!" * 1500 + "true", "1 in " + "[" * 900 + "]" * 900]
)
def test_deep_expressions_are_refused_before_they_are_climbed(bomb):
    with pytest.raises(CelError, match=f"deeper than {MAX_DEPTH}"):
        parse(bomb)


def test_long_expressions_are_refused():
    with pytest.raises(CelError, match="at most 2000"):
        parse("true || " * 300 + "true")


def test_invariants_may_test_the_target_and_the_hop():
    check(parse('target.side == "external" && hop != "first" && data.sensitivity > public'), invariant=True)


def test_spelling_does_not_change_what_is_shown():
    assert show(parse("a.b=='x y'&&c.d>1")) == show(parse('a.b  == "x y" && c.d > 1'))
    assert show(parse("a.b == 'x y'")) != show(parse("a.b == 'xy'"))
