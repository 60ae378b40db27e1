"""The risk guard as it is served: scores per text by kind, and the word swaps that probe a classification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.risk import identities, net

WHOLE = 300  # characters from which on hardly a text passes as a whole: of business texts, one in twenty
KEPT_SCORES = 4096  # of texts that came lately: greetings, refusals and the like come again and again


class RiskModel:
    """The guard loaded from its artifact folder, checked against its manifest. Safe to share by threads.

    Scores that came lately are kept by the text's hash (64 bits, salted by the process), never by the text: of texts that the
    screen doesn't let pass, for those of others are sooner found than looked up.
    """

    kinds: tuple[str, ...] = net.KINDS

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self.manifest = artifacts.verify(self.directory)
        try:
            self._net = net.load(artifacts.file_of(self.directory, self.manifest, "weights"))
        except ValueError as error:
            raise artifacts.ArtifactCorrupt(f"{self.manifest['id']}: {error}") from error
        self._scores: dict[int, float] = {}

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
        """Risk of each text, (N,) float32 in [0, 1]: its gravest judged kind. English and Chinese.

        0 for a text of plain words alone or surely harmless, which is not read further (modelhub.ml.risk.screen, glance).
        """
        found, left = [0.0] * len(texts), self._net.unscreened(texts)
        if left:
            for i, score in zip(left, self._kept([texts[i] for i in left]), strict=True):
                found[i] = score
        return np.array(found, np.float32)

    def _kept(self, texts: list[str]) -> list[float]:
        """The same of texts that the screen doesn't let pass."""
        kept = self._scores
        keys = [hash(text) for text in texts]
        missing = [i for i, key in enumerate(keys) if key not in kept]
        new = self._net.score_unscreened([texts[i] for i in missing]).tolist() if missing else []
        told = {keys[i]: score for i, score in zip(missing, new, strict=True)}
        scores = [told[key] if key in told else kept[key] for key in keys]
        if len(kept) + len(told) > KEPT_SCORES:
            self._scores = kept = {}
        kept.update(told)
        return scores

    def passes(self, text: str) -> bool:
        """Whether all of a text, if it isn't long, is of plain words alone, so that each of its sentences would score 0."""
        return len(text) < WHOLE and self._net.screen is not None and self._net.screen.passes(text)

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
