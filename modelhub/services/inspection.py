"""What is sensitive in uploaded rows, and where they may go: asked of the inspection and the policies of routing.

Routing stands above this package, so it registers itself when it starts. While nobody has, nothing is accepted: rows that
nobody looked at are kept nowhere and leave for nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from switchyard.core.errors import Unavailable


class Inspector(Protocol):
    """What routing knows of texts and of policies."""

    def entities_in(self, text: str) -> set[str]:
        """Kinds of personal data and credentials."""
        ...

    def classify(self, base: str, declared: str, entities: Sequence[str]) -> str:
        """The strictest class of a base, a declared one ("" for none) and what was found."""
        ...

    def why_not(
        self,
        *,
        organisation_id: int,
        lob: str,
        workload: str,
        deployment: str,
        sensitivity: str,
        entities: Sequence[str],
    ) -> str:
        """The invariant that keeps such rows from being trained on there; empty when none does."""
        ...


_registered: list[Inspector] = []


def register(inspector: Inspector) -> None:
    _registered[:] = [inspector]


def inspector() -> Inspector:
    """Raises Unavailable when nobody registered."""
    if not _registered:
        raise Unavailable("Uploaded rows can't be inspected, so they are not taken.")
    return _registered[0]
