"""Which of an artifact's graphs serves: the first form, in the manifest's order, that opens and answers as stored.

A manifest may name several files that compute the same: `"forms": {"body": ["body.qmoe", "body.moe", "body"]}` lists
roles of `files`, best first. Stored probes (role `probes`, an .npz) hold inputs under `in.<role>.<input>` and right
outputs under `out.<role>.<output>`; `"probe_tolerance": {"body.qmoe": 0.05}` says how far a form may stray (1e-3).
Without `forms` the role itself is the only form.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.serving.errors import ModelRefused, ServingError
from modelhub.serving.runtime import GraphSession, How, brief

log = logging.getLogger(__name__)
TOLERANCE = 1e-3


@dataclass(slots=True)
class Chosen:
    """The session that serves a role, which form it is, and why better ones were passed over."""

    session: GraphSession
    form: str
    passed_over: list[str] = field(default_factory=list)


def open_role(directory: Path, manifest: dict[str, Any], role: str, how: How) -> Chosen:
    """Open a role's best usable form. Raises ModelRefused when none is usable, ArtifactCorrupt for a missing file."""
    forms = manifest.get("forms", {}).get(role) or [role]
    probes = _probes(directory, manifest, role)
    passed_over: list[str] = []
    for form in forms:
        try:
            session = GraphSession(artifacts.file_of(directory, manifest, form), how)
            _agree(session, probes, float(manifest.get("probe_tolerance", {}).get(form, TOLERANCE)))
        except ServingError as error:
            passed_over.append(f"{form}: {error.message}")
        except Exception as error:
            passed_over.append(f"{form}: {brief(error)}")
        else:
            for words in passed_over:
                log.warning("%s is served by its form %s; passed over %s", manifest["id"], form, words)
                how.watch("form_passed_over", model=how.model, form=words.partition(":")[0])
            return Chosen(session, form, passed_over)
    raise ModelRefused(
        how.model or manifest["id"], f"no form of {role} can be used: {'; '.join(passed_over)}"
    )


def _probes(directory: Path, manifest: dict[str, Any], role: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if "probes" not in manifest["files"]:
        return {}, {}
    with np.load(artifacts.file_of(directory, manifest, "probes"), allow_pickle=False) as saved:
        into = {n.removeprefix(f"in.{role}."): saved[n] for n in saved.files if n.startswith(f"in.{role}.")}
        out = {n.removeprefix(f"out.{role}."): saved[n] for n in saved.files if n.startswith(f"out.{role}.")}
    return into, out


def _agree(session: GraphSession, probes: tuple[dict[str, Any], dict[str, Any]], tolerance: float) -> None:
    """Raises ValueError when a stored answer is missed by more than the tolerance, of the largest value's size."""
    into, out = probes
    if not into:
        return
    names = list(out)
    for name, got in zip(names, session.run(names, into), strict=True):
        scale = max(1.0, float(np.abs(out[name]).max()))
        if got.shape != out[name].shape or not np.isfinite(got).all():
            raise ValueError(f"its {name} has the wrong shape or is no number")
        if (far := float(np.abs(got - out[name]).max()) / scale) > tolerance:
            raise ValueError(f"its {name} strays {far:.2g} from the stored answers (at most {tolerance:g})")
