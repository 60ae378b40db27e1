"""What the JSON Schema of documents finds wrong, in our own words: those of the library come in one language only. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema

from routing.policy.said import Said, _

MOST = 120  # characters of a value that are shown
# Validator → what it says of a value and of the schema's own figure.
_WORDS: dict[str, Said] = {
    "type": _("%(value)s is not of type %(wanted)s."),
    "enum": _("%(value)s is not one of %(wanted)s."),
    "const": _("%(wanted)s is expected here, not %(value)s."),
    "minLength": _("%(value)s is too short; at least %(wanted)s characters are expected."),
    "maxLength": _("%(value)s is too long; at most %(wanted)s characters are allowed."),
    "minItems": _("%(value)s is too short; at least %(wanted)s entries are expected."),
    "maxItems": _("This list is too long; at most %(wanted)s entries are allowed."),
    "minProperties": _("%(value)s is too short; at least %(wanted)s entries are expected."),
    "uniqueItems": _("%(value)s names something twice."),
    "minimum": _("%(value)s is less than the minimum of %(wanted)s."),
    "maximum": _("%(value)s is greater than the maximum of %(wanted)s."),
    "exclusiveMinimum": _("%(value)s is expected to be greater than %(wanted)s."),
}
_FORMS = {
    "a share of the best in 0..1, or 'abs:0.90'": _(
        "%(value)s is not a share of the best in 0..1, or 'abs:0.90'."
    ),
    "confidence >= a chance in 0..1": _(
        "%(value)s is not of the form `confidence >= 0.90`, with a chance in 0..1."
    ),
}


def shape_faults(error: jsonschema.ValidationError) -> Iterator[Said]:
    """One sentence for each thing that is wrong at the error's place."""
    if error.validator == "additionalProperties":
        known = ", ".join(sorted(error.schema.get("properties", {})))
        for name in error.instance:
            if name not in error.schema.get("properties", {}):
                yield _("%(name)s was unexpected; known are %(known)s.") % {
                    "name": _shown(name),
                    "known": known,
                }
        return
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield _("%(name)s is missing here.") % {"name": _shown(name)}
        return
    told = {"value": _shown(error.instance), "wanted": _wanted(error.validator_value)}
    form = _FORMS.get(error.schema.get("description", ""))
    if error.validator == "anyOf" or (form and error.validator == "pattern"):
        yield (form or _("%(value)s is none of what may stand here.")) % {"value": told["value"]}
        return
    if error.validator_value == 1 and str(error.validator).startswith("min") and error.validator != "minimum":
        yield _("%(value)s should be non-empty.") % {"value": told["value"]}
        return
    words = _WORDS.get(str(error.validator))
    yield words % told if words is not None else Said(error.message[:300] + ".")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MOST else text[: MOST - 1] + "…"


def _wanted(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else str(value)
