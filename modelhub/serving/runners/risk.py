"""The risk guard as it is served: a score per text, and the word swaps that probe a classification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.risk import identities, model


class RiskModel:
    """The guard loaded from its artifact folder, checked against its manifest. Safe to share by threads."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self.manifest = artifacts.verify(self.directory)
        self._weights = model.load(artifacts.file_of(self.directory, self.manifest, "weights"))

    @property
    def threshold(self) -> float:
        """The score from which a text counts as risky, unless a line of business sets its own."""
        return float(self.manifest["thresholds"]["default"])

    @property
    def may_enforce(self) -> bool:
        """Whether its measured false alarms allow it to withhold answers; else it only observes."""
        return bool(self.manifest["may_enforce"])

    @property
    def figures(self) -> dict[str, Any]:
        """What was measured, HateCheck included."""
        return dict(self.manifest["metrics"])

    def score(self, texts: list[str]) -> np.ndarray:
        """Risk of each text, (N,) float32 in [0, 1]; English and Chinese."""
        return self._weights.score(texts)

    def identity_swaps(self, text: str) -> list[str]:
        """The text with its words for groups of people exchanged; empty when it names none."""
        return identities.identity_swaps(text)
