"""The published schema is the one that documents are read by."""

import json

import jsonschema
import pytest
import yaml

from routing.policy.document import parse_document
from routing.policy.published import PATH, as_text, published_schema
from switchyard.core.errors import ValidationFailed

ROUTES = {
    "{prefer: [a], fallback: [b], shadow: [c], mask: true}": True,
    "{choose: cheapest, among: [a, b], quality_floor: 0.96, learned: true}": True,
    "{split: {a: 0.9, b: 0.1}, sticky: lob.application}": True,
    "{cascade: [a, b], until: 'confidence >= 0.9'}": True,
    "{prefer: [a], cache: {exact: true, ttl_s: 600, semantic: 0.97}}": True,
    "{prefer: [a], cache: {ttl_s: 0}}": False,
    "{prefer: [a], cache: {ttl_s: 60, semantic: 1.5}}": False,
    "{prefer: [a], cache: {}}": False,
    "{prefer: [a], deny: true}": False,
    "{prefer: []}": False,
    "{split: {a: 1}, sticky: request.tokens_in}": False,
    "{choose: dearest, among: [a]}": False,
    "{fallback: [a]}": False,
}


def test_the_published_file_is_the_schema_of_today():
    assert PATH.read_text() == as_text(), "run python -m routing.policy.published"
    jsonschema.Draft202012Validator.check_schema(json.loads(as_text()))


@pytest.mark.parametrize("route", ROUTES)
def test_the_schema_and_the_reader_agree(route):
    text = f"rules: [{{name: r, when: 'true', route: {route}}}]\ndefault: deny\n"
    try:
        parse_document(text, organisation=True)
        read = True
    except ValidationFailed:
        read = False
    valid = jsonschema.Draft202012Validator(published_schema()).is_valid(yaml.safe_load(text))
    assert (read, valid) == (ROUTES[route], ROUTES[route])


@pytest.mark.parametrize(
    ("route", "word"),
    [
        ("{prefer: [a], learned: true}", "`learned` belongs to `choose`"),
        ("{prefer: [a], sticky: lob.slug}", "`sticky` belongs to `split`"),
        ("{deny: true, mask: true}", "`mask` belongs to"),
        ("{prefer: [a], cache: {exact: false, ttl_s: 60}}", "keeps nothing"),
    ],
)
def test_what_the_schema_cannot_say_is_refused_in_words(route, word):
    with pytest.raises(ValidationFailed) as error:
        parse_document(
            f"rules: [{{name: r, when: 'true', route: {route}}}]\ndefault: deny\n", organisation=True
        )
    assert word in error.value.errors[0]["message"]
