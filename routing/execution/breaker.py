"""What the process itself knows of its upstreams: calls in flight."""

from __future__ import annotations

from collections import Counter

from routing.contracts import DeploymentInfo
from routing.execution.balance import overflows


class Load:
    """Calls in flight by deployment. The breaker's state itself is shared by processes and lives in admission."""

    def __init__(self) -> None:
        self.in_flight: Counter[str] = Counter()

    def turns_away(self, target: DeploymentInfo, *, others: bool) -> bool:
        """Whether nothing more goes there now; `others`: somebody else may still answer."""
        return overflows(self.in_flight[target.name], target, others=others)
