"""The risk guard as it is served: scores per text by kind, and the word swaps that probe a classification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.risk import identities, net


class RiskModel:
    """The guard loaded from its artifact folder, checked against its manifest. Safe to share by threads."""

    kinds: tuple[str, ...] = net.KINDS

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self.manifest = artifacts.verify(self.directory)
        try:
            self._net = net.load(artifacts.file_of(self.directory, self.manifest, "weights"))
        except ValueError as error:
            raise artifacts.ArtifactCorrupt(f"{self.manifest['id']}: {error}") from error

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
        """Risk of each text, (N,) float32 in [0, 1]: its gravest judged kind. English and Chinese."""
        return self._net.score(texts)

    def score_kinds(self, texts: list[str]) -> np.ndarray:
        """(N, 4) float32 in [0, 1], in the order of `kinds`."""
        return self._net.kinds(texts)

    def kind_of(self, text: str) -> str:
        """The gravest judged kind of a text."""
        return self.kinds[int(self._net.kinds([text])[0, : net.JUDGED].argmax())]

    def identity_swaps(self, text: str) -> list[str]:
        """The text with its words for groups of people exchanged; empty when it names none."""
        return identities.identity_swaps(text)

    def kinds_named(self, text: str) -> list[str]:
        """Which kinds of group the text names."""
        return identities.kinds_named(text)
