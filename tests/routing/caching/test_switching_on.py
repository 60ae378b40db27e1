"""A policy that asks for the semantic cache before it was proven is not saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from routing.caching.verdict import MEASURED
from routing.services import policies
from switchyard.core.errors import ValidationFailed
from tests import factories as make

pytestmark = pytest.mark.django_db
POLICY = """\
rules:
  - name: all
    when: true
    route: {prefer: [private-sparse], cache: {exact: true, ttl_s: 60, semantic: %s}}
default: deny
"""


def save(similarity: float) -> Any:
    organisation = make.make_organisation()
    make.make_deployment(organisation, "private-sparse", "private")
    return policies.create_draft(organisation=organisation, lob=None, document=POLICY % similarity, user=None)


@pytest.mark.parametrize(
    ("verdict", "similarity", "saved"),
    [("fail", 0.999, False), ("pass", 0.96, False), ("pass", 0.97, True)],
)
def test_the_measured_verdict_decides(
    settings: Any, tmp_path: Path, verdict: str, similarity: float, saved: bool
) -> None:
    settings.HOME = tmp_path
    threshold = 0.97 if verdict == "pass" else None
    told = {"verdict": verdict, "threshold": threshold, "why": "as measured"}
    (tmp_path / MEASURED).write_text(json.dumps(told))
    if saved:
        assert save(similarity).state == "draft"
        return
    with pytest.raises(ValidationFailed) as refused:
        save(similarity)
    (fault,) = refused.value.errors
    assert (
        fault["path"] == "rules[0].route.cache.semantic"
        and "as measured" in fault["message"]
        and fault["line"]
    )
