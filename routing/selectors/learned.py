"""What was learned, as the gateway holds it: scorers of workloads and maps of confidence in use, the shipped router."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from modelhub import artifacts
from routing.contracts import ConfidenceMap
from routing.learned.calibrate import Calibration
from routing.learned.embedding import Reader
from routing.learned.feedback import WorkloadScorer
from routing.learned.files import Router, load
from routing.learned.live import Learned
from routing.learning.models import RoutingFit
from routing.policy.engine import CompiledPolicies, Rollout

log = logging.getLogger(__name__)
ROUTER = "router-base"


def learned_of(organisation_id: int, policies: CompiledPolicies, lobs: Iterable[str]) -> Learned | None:
    """None where no policy in force asks for chances: nothing is loaded then."""
    asking = asking_lobs(policies, lobs)
    if not asking:
        return None
    router, reader = shipped()
    return Learned(asking, router, reader, _scorers(organisation_id))


def asking_lobs(policies: CompiledPolicies, lobs: Iterable[str]) -> frozenset[str]:
    """Lines of business with a `learned: true` route in a policy that is in force for them."""
    everybody = _asks(policies.organisation)
    return frozenset(lob for lob in lobs if everybody or _asks(policies.lobs.get(lob)))


def _asks(rollout: Rollout | None) -> bool:
    if rollout is None:
        return False
    documents = [d for d in (rollout.document, rollout.previous) if d is not None]
    routes = [rule.route for d in documents for rule in d.rules] + [d.default for d in documents if d.default]
    return any(route.learned for route in routes)


def shipped() -> tuple[Router | None, Reader | None]:
    """The router and the edge student it reads with; each None, with a line in the log, where it can't be used."""
    try:
        folder = artifacts.find(ROUTER)
        return _opened(str(folder), artifacts.digest(folder / artifacts.MANIFEST))
    except (artifacts.ArtifactMissing, OSError):
        log.exception("there is no learned router: evaluated quality is used")
        return None, _reader()


@lru_cache(maxsize=2)
def _opened(folder: str, digest: str) -> tuple[Router | None, Reader | None]:
    """`digest`: of the manifest, so that another router is opened anew."""
    directory = Path(folder)
    try:
        manifest = artifacts.verify(directory)
        router = load(artifacts.file_of(directory, manifest, "router"))
        return router, Reader(tokenizer=manifest["requires"]["txt-edge"]["tokenizer"])
    except Exception:  # whatever is wrong with it, a snapshot is built without it
        log.exception("the learned router can't be used: evaluated quality is used")
        return None, _reader()


def _reader() -> Reader | None:
    try:
        return Reader()
    except Exception:
        log.exception("the edge student can't be opened: nothing is read of prompts")
        return None


def _scorers(organisation_id: int) -> dict[str, WorkloadScorer]:
    rows = RoutingFit.objects.filter(organisation_id=organisation_id, kind="scorer", state="live")
    found = {}
    for row in rows:
        try:
            found[row.workload] = WorkloadScorer.from_json(row.values)
        except (KeyError, TypeError, ValueError):
            log.exception("the scorer of %s (version %s) can't be read", row.workload, row.version)
    return found


def calibrations_of(organisation_id: int) -> Mapping[str, dict[str, ConfidenceMap]]:
    """Deployment → workload → the map in use."""
    found: dict[str, dict[str, ConfidenceMap]] = {}
    rows = RoutingFit.objects.filter(organisation_id=organisation_id, kind="calibration", state="live")
    for row in rows:
        try:
            chance = Calibration.from_json(row.values)
        except (KeyError, TypeError, ValueError):
            log.exception("the calibration of %s on %s can't be read", row.workload, row.deployment)
            continue
        found.setdefault(row.deployment, {})[row.workload] = ConfidenceMap(row.model, chance)
    return found
