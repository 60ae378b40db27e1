"""What the operator library did in this process, as Prometheus text: the model server adds it to its /metrics."""

from __future__ import annotations

import threading
from collections import Counter

_LOCK = threading.Lock()
_FAILOVERS: Counter[tuple[str, str, str, str]] = Counter()
_REFUSED: Counter[tuple[str, str]] = Counter()
_CACHE_RESETS: Counter[str] = Counter()


def failover(what: str, lost: str, to: str, reason: str) -> None:
    """A call moved on from one backend to the next; `to` is empty when none was left."""
    with _LOCK:
        _FAILOVERS[what, lost, to, reason] += 1


def refused(what: str, implementation: str) -> None:
    """Conformance refused an implementation."""
    with _LOCK:
        _REFUSED[what, implementation] += 1


def cache_reset(reason: str) -> None:
    """The autotune cache could not be read and was begun anew."""
    with _LOCK:
        _CACHE_RESETS[reason] += 1


def failovers() -> dict[tuple[str, str, str, str], int]:
    """(operator or model, from, to, reason) → times."""
    with _LOCK:
        return dict(_FAILOVERS)


def reset() -> None:
    """Start from zero; for tests."""
    with _LOCK:
        for each in (_FAILOVERS, _REFUSED, _CACHE_RESETS):
            each.clear()


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")


def render() -> str:
    """The counters in Prometheus' text format."""
    with _LOCK:
        lines = ["# TYPE switchyard_hal_failovers_total counter"]
        for (what, lost, to, reason), times in sorted(_FAILOVERS.items()):
            words = (
                f'operator="{_label(what)}",from="{_label(lost)}",to="{_label(to)}",reason="{_label(reason)}"'
            )
            lines.append(f"switchyard_hal_failovers_total{{{words}}} {times}")
        lines.append("# TYPE switchyard_hal_refused_total counter")
        for (what, implementation), times in sorted(_REFUSED.items()):
            words = f'operator="{_label(what)}",implementation="{_label(implementation)}"'
            lines.append(f"switchyard_hal_refused_total{{{words}}} {times}")
        lines.append("# TYPE switchyard_hal_cache_resets_total counter")
        lines += [
            f'switchyard_hal_cache_resets_total{{reason="{_label(r)}"}} {n}'
            for r, n in sorted(_CACHE_RESETS.items())
        ]
    return "\n".join(lines) + "\n"
