"""The JSON Schema of policy documents for editors and other programs; `python -m routing.policy.published` writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from routing.policy.document import KINDS, SCHEMA

PATH = Path(__file__).parents[2] / "docs" / "reference" / "policy.schema.json"


def published_schema() -> dict[str, Any]:
    """Draft 2020-12. What it can't say (types of conditions, reachability, the proof) saving and validating say."""
    told: dict[str, Any] = json.loads(json.dumps(SCHEMA))
    route = told["properties"]["rules"]["items"]["properties"]["route"]
    told["$defs"] = {"route": route | {"oneOf": [{"required": [kind]} for kind in KINDS]}}
    here = {"$ref": "#/$defs/route"}
    told["properties"]["rules"]["items"]["properties"]["route"] = here
    told["properties"]["default"] = {"anyOf": [{"const": "deny"}, here]}
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Switchyard policy document",
        "description": "Invariants, rules in order, and for the organisation a default. Conditions are CEL over the facts "
        "of GET /api/v1/policies/facts.",
    }
    return head | told


def as_text() -> str:
    return json.dumps(published_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(as_text())
