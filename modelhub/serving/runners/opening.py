"""An artifact's runner by its kind. Numpy and ONNX Runtime only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from modelhub import artifacts
from modelhub.serving.runtime import How


def open_runner(
    directory: Path, how: How, *, trunk_dir: Path | None = None, trust: Any = None, room: Any = None, counted: Any = None,
    count_every: int = 0,
) -> Any:  # fmt: skip
    """Raises ArtifactCorrupt, ModelRefused, ValueError for a kind that nothing here runs."""
    manifest = artifacts.load_manifest(directory)
    kind = manifest["kind"]
    if kind == "text-classifier":
        from modelhub.serving.runners.text import TextClassifier

        trunk = trunk_dir if "trunk" in manifest["requires"] else None
        return TextClassifier(
            directory,
            trunk_dir=trunk,
            how=how,
            counted=counted,
            count_every=count_every,
            trust=trust,
            room=room,
        )
    if kind == "tabular":
        from modelhub.serving.runners.tabular import TabularModel

        return TabularModel(directory, how=how, trust=trust)
    if kind == "causal-lm":
        from modelhub.serving.runners.lm import CausalLM

        return CausalLM(directory, how=how)
    raise ValueError(f"{manifest['id']} is a {kind}: nothing here runs that")
