"""How much the fine-tuned models of an organisation share, what each has of its own, and which are nearly the same."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from modelhub import artifacts
from modelhub.ml.adapters.likeness import Delta, agreement, cosine, delta_of
from modelhub.models import ModelVersion
from switchyard.tenancy.querysets import Scope

log = logging.getLogger(__name__)
ALIKE = 0.9  # cosine of what two models add, from which they are worth a look
MOST_COMPARED = 64  # the newest of one base; comparing is quadratic


@dataclass(frozen=True, slots=True)
class Tuned:
    """One fine-tuned version: what it has of its own, in bytes."""

    version: ModelVersion
    base: str
    method: str
    head_bytes: int
    adapter_bytes: int
    shape: dict[str, Any]
    folder: Path
    digest: str

    @property
    def own_bytes(self) -> int:
        return self.head_bytes + self.adapter_bytes

    @property
    def name(self) -> str:
        return f"{self.version.workload.name}@{self.version.version}"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two versions that add nearly the same; `cosine` of their weights' changes."""

    first: Tuned
    second: Tuned
    cosine: float


@dataclass(slots=True)
class Family:
    """All versions on one base, the bytes they share, and pairs that could be one."""

    base: str
    shared_bytes: int
    members: list[Tuned] = field(default_factory=list)
    alike: list[Pair] = field(default_factory=list)

    @property
    def own_bytes(self) -> int:
        return sum(member.own_bytes for member in self.members)

    @property
    def apart_bytes(self) -> int:
        """What they would take if each held a trunk of its own."""
        return self.own_bytes + self.shared_bytes * len(self.members)

    @property
    def shared_share(self) -> float:
        """The part of a model that is the trunk's, on average."""
        return self.shared_bytes * len(self.members) / self.apart_bytes if self.members else 0.0

    @property
    def saved_bytes(self) -> int:
        return self.apart_bytes - self.own_bytes - self.shared_bytes if self.members else 0


def tuned_versions(scope: Scope, lob: str = "") -> list[Tuned]:
    """Versions trained here that the reader may see, retired ones left out; one whose files are gone or broken is passed over."""
    rows = ModelVersion.objects.for_tenant(scope).select_related("deployment", "workload__lob")
    if lob:
        rows = rows.filter(workload__lob__slug=lob)
    found = []
    for version in rows.exclude(stage="retired").exclude(artifact="").order_by("-created_at", "pk"):
        folder = Path(settings.HOME) / version.artifact
        try:
            manifest = artifacts.load_manifest(folder)
            if manifest.get("kind") != "text-head":
                continue
            digest = artifacts.digest(folder / artifacts.MANIFEST)
        except (artifacts.ArtifactCorrupt, OSError) as error:
            log.warning("version %s is left out of the view of what models share: %s", version.pk, error)
            continue
        sizes = {role: entry["bytes"] for role, entry in manifest["files"].items()}
        found.append(
            Tuned(
                version, manifest["base"], manifest.get("method", "head"), sizes.get("head", 0), sizes.get("adapter", 0),
                manifest.get("adapter", {}), folder, digest,
            )
        )  # fmt: skip
    return found


def fragmentation(scope: Scope, lob: str = "") -> list[Family]:
    """One entry a base model, largest first; `lob` narrows to one line of business."""
    families: dict[str, Family] = {}
    for tuned in tuned_versions(scope, lob):
        if tuned.base not in families:
            families[tuned.base] = Family(tuned.base, _shared_bytes(tuned.base))
        families[tuned.base].members.append(tuned)
    for family in families.values():
        family.alike = _alike(family)
    return sorted(families.values(), key=lambda family: (-len(family.members), family.base))


def _shared_bytes(base: str) -> int:
    """The body's file; 0 for a base that isn't on this machine."""
    try:
        return int(artifacts.load_manifest(artifacts.find(base))["files"]["body"]["bytes"])
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt, KeyError):
        return 0


def _alike(family: Family) -> list[Pair]:
    members, found = family.members[:MOST_COMPARED], []
    for place, first in enumerate(members):
        for second in members[place + 1 :]:
            near = _near((str(first.folder), first.digest), (str(second.folder), second.digest), family.base)
            if near is not None and near >= ALIKE:
                found.append(Pair(first, second, round(near, 4)))
    return sorted(found, key=lambda pair: -pair.cosine)


@lru_cache(maxsize=MOST_COMPARED**2)
def _near(first: tuple[str, str], second: tuple[str, str], base: str) -> float | None:
    """Cosine of two folders' changes, each with its manifest's digest: a page is read more often than models change."""
    one, other = _delta(*first, base), _delta(*second, base)
    return cosine(one, other) if one is not None and other is not None else None


@lru_cache(maxsize=2 * MOST_COMPARED)
def _delta(folder: str, digest: str, base: str) -> Delta | None:
    """Kept by the manifest's digest: other files have another."""
    try:
        return delta_of(Path(folder), artifacts.find(base))
    except (artifacts.ArtifactCorrupt, artifacts.ArtifactMissing, OSError, KeyError, ValueError) as error:
        log.warning("%s can't be compared: %s", folder, error)
        return None


def agreement_of(pair: Pair, texts: list[str]) -> float:
    """Share of texts to which both answer alike, run here: for commands and workers, not for pages. Raises ValueError."""
    from modelhub.ml.trunk import ensure_trunk
    from modelhub.serving.runners.text import TextClassifier

    runner = TextClassifier(artifacts.find(pair.first.base), trunk_dir=ensure_trunk(Path(settings.HOME)))
    first, second = (
        runner.classify(one.name, texts).labels if texts else [] for one in (pair.first, pair.second)
    )
    return agreement(first, second)
