"""Whether the learned finder of names is asked: only where a policy in force speaks of names, or masks what leaves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

NAME = "person_name"


def names_wanted(policies: Any) -> bool:
    """`policies`: routing.policy.engine.CompiledPolicies. What can't be told counts as yes."""
    try:
        return any(_speaks_of_names(document) for document in _documents(policies))
    except AttributeError:
        return True


def _documents(policies: Any) -> Iterator[Any]:
    for rollout in (policies.organisation, *policies.lobs.values()):
        if rollout is not None:
            yield rollout.document
            if rollout.previous is not None:
                yield rollout.previous


def _speaks_of_names(document: Any) -> bool:
    conditions = [rule.source for rule in document.rules] + [i.source for i in document.invariants]
    routes = [rule.route for rule in document.rules] + ([document.default] if document.default else [])
    return any(NAME in condition for condition in conditions) or any(route.mask for route in routes)
