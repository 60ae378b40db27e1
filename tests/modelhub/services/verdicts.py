"""Gate reports for tests that are about what follows from them."""

from __future__ import annotations

from typing import Any

from modelhub.models import GateReport, ModelVersion
from modelhub.services.gates import ORDER, replaced_by


def make_report(version: ModelVersion, **verdicts: str) -> GateReport:
    """A report over the version as it is, passed but for what `verdicts` says."""
    results: list[dict[str, Any]] = [
        {
            "gate": name,
            "verdict": verdicts.get(name, "pass"),
            "sentence": f"{name} as a test says.",
            "figures": {},
        }
        for name in ORDER
    ]
    return GateReport.objects.create(
        version=version, baseline=replaced_by(version), digest=version.digest, results=results
    )
