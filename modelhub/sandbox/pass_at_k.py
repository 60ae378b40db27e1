"""pass@k: the chance that one of k samples passes, estimated without bias from n of them.

1 − C(n−c, k) / C(n, k) a problem, averaged over problems (Chen et al. 2021, arXiv:2107.03374, equation 1).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from modelhub.sandbox.humaneval import Problem, program_for
from modelhub.sandbox.run import Limits, run_program

DRAWS = 2000


def pass_at_k(n: int, c: int, k: int) -> float:
    """Of one problem with c right among n samples. Raises ValueError unless 0 <= c <= n and 1 <= k <= n."""
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"n={n}, c={c}, k={k} must satisfy 0 <= c <= n and 1 <= k <= n")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod((n - c - i) / (n - i) for i in range(k))


@dataclass(frozen=True)
class PassAtK:
    """An estimate over problems with its 95 % bootstrap interval over problems; `right`: problem → samples that passed."""

    k: int
    samples: int
    value: float
    low: float
    high: float
    right: dict[str, int] = field(default_factory=dict)


def estimate(right: dict[str, int], samples: int, k: int, seed: int = 0) -> PassAtK:
    """Raises ValueError without problems."""
    if not right:
        raise ValueError("no problems to estimate from")
    each = np.array([pass_at_k(samples, c, k) for c in right.values()])
    rng = np.random.default_rng(seed)
    means = each[rng.integers(0, len(each), (DRAWS, len(each)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return PassAtK(
        k, samples, round(float(each.mean()), 4), round(float(low), 4), round(float(high), 4), right
    )


def sample(
    complete: Callable[[str], str],
    problems: Sequence[Problem],
    samples: int,
    limits: Limits | None = None,
    report: Callable[[int, int, str], None] = lambda done, total, message: None,
) -> dict[str, int]:
    """Ask `samples` times for each problem, run every answer in the sandbox, count those that pass."""
    right: dict[str, int] = {}
    for done, problem in enumerate(problems, 1):
        passed = 0
        for _ in range(samples):
            proof = secrets.token_hex(16)
            outcome = run_program(program_for(problem, complete(problem.prompt), proof), limits)
            passed += outcome.ok and outcome.output.rstrip().endswith(proof)
        right[problem.task_id] = passed
        report(done, len(problems), f"{problem.task_id}: {passed} of {samples}")
    return right
