"""One organisation as a Snapshot: what the gateway holds in memory, and what a trial of a policy decides against."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from costs import selectors as money
from costs.contracts import RateLimit
from modelhub.models import Canary, Deployment, ModelVersion
from modelhub.selectors.quality import labels_of, latest_quality, resting, usual_accelerator_ns
from modelhub.selectors.tuned import public_name, versions_of
from routing.contracts import (
    CanaryShare,
    DeploymentInfo,
    KeyInfo,
    LobInfo,
    Snapshot,
    VersionInfo,
    WorkloadInfo,
    strictest,
)
from routing.dictionaries.selectors import dictionaries_of
from routing.inspection.wanted import names_wanted
from routing.selectors import policies
from routing.selectors.learned import calibrations_of, learned_of
from switchyard.core.addresses import AddressRefused, check_url
from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.tenancy.models import ApiKey, LineOfBusiness, Organisation, Workload

log = logging.getLogger(__name__)


def snapshot_of(organisation: Organisation, *, version: int = 0, loaded_ns: int = 0) -> Snapshot:
    """Everything of one organisation, read once."""
    lobs = list(LineOfBusiness.objects.filter(organisation=organisation))
    workloads = _workloads(organisation.pk)
    compiled = policies.compiled(organisation.pk)
    return Snapshot(
        version=version, loaded_ns=loaded_ns, organisation=organisation.slug, organisation_id=organisation.pk,
        keys=_keys(organisation), lobs={lob.slug: _lob(lob, workloads) for lob in lobs}, workloads=workloads,
        deployments=_deployments(organisation.pk), policies=compiled,
        versions=_versions(organisation.pk),
        learned=learned_of(organisation.pk, compiled, (lob.slug for lob in lobs)),
        trials=policies.trials(organisation.pk),
        dictionaries=dictionaries_of(organisation.pk, [lob.slug for lob in lobs]), wants_names=names_wanted(compiled),
    )  # fmt: skip


def _lob(lob: LineOfBusiness, workloads: Mapping[str, WorkloadInfo]) -> LobInfo:
    classes = [w.sensitivity for w in workloads.values() if w.lob == lob.slug]
    return LobInfo(
        slug=lob.slug, organisation_id=lob.organisation_id, guard_mode=lob.guard_mode,
        guard_threshold=lob.guard_threshold, keep_text=lob.keep_text, highest_sensitivity=strictest("internal", *classes),
    )  # fmt: skip


def _workloads(organisation_id: int) -> dict[str, WorkloadInfo]:
    text_models = Deployment.objects.filter(organisation_id=organisation_id, heads=True).values_list(
        "model", flat=True
    )
    labels = labels_of(sorted(set(text_models)))
    rows = Workload.objects.filter(organisation_id=organisation_id).select_related("lob")
    return {
        w.name: WorkloadInfo(
            name=w.name,
            organisation_id=organisation_id,
            lob=w.lob.slug,
            task=w.task,
            tier=w.tier,
            sensitivity=w.sensitivity,
            metric=w.metric,
            correct_rule=w.correct_rule,
            labels=labels.get(w.name, ()),
        )  # fmt: skip
        for w in rows
    }


def _keys(organisation: Organisation) -> dict[str, KeyInfo]:
    budgets = money.budget_limits(organisation.pk)
    rows = ApiKey.objects.filter(application__lob__organisation=organisation, revoked_at__isnull=True)
    keys = {}
    for key in rows.select_related("application__lob"):
        application, lob = key.application, key.application.lob
        scopes = (
            (f"lob:{lob.slug}", lob),
            (f"application:{application.slug}", application),
            (f"key:{key.pk}", key),
        )
        limits = tuple(
            RateLimit(scope, row.rpm, row.tpm, row.concurrency)
            for scope, row in scopes
            if row.rpm or row.tpm or row.concurrency
        )
        keys[key.digest] = KeyInfo(
            id=key.pk, digest=key.digest, organisation=organisation.slug, organisation_id=organisation.pk,
            lob=lob.slug, application=application.slug, limits=limits,
            expires_ns=int(key.expires_at.timestamp() * 1e9) if key.expires_at else 0,
            budgets=money.budgets_on_path(budgets, lob=lob.slug, application=application.slug, key_id=key.pk),
        )  # fmt: skip
    return keys


def _deployments(organisation_id: int) -> dict[str, DeploymentInfo]:
    sheets, rates = money.price_sheets(organisation_id, now()), money.node_rates(organisation_id)
    quality, usual = latest_quality(organisation_id), usual_accelerator_ns(organisation_id)
    names: dict[str, dict[str, str]] = {}
    live = ModelVersion.objects.filter(deployment__organisation_id=organisation_id, stage="live")
    for deployment, workload, upstream in live.values_list(
        "deployment__name", "workload__name", "upstream_model"
    ):
        names.setdefault(deployment, {})[workload] = upstream
    trials, rests = _canaries(organisation_id), resting(organisation_id)
    maps = calibrations_of(organisation_id)
    found = {}
    rows = Deployment.objects.filter(organisation_id=organisation_id, enabled=True)
    for row in rows.select_related("node").prefetch_related("lobs"):
        try:
            check_url(row.base_url, conf("UPSTREAM_CIDRS"))
        except AddressRefused as error:
            log.error("deployment %s gets no traffic: %s", row.name, error)
            continue
        found[row.name] = DeploymentInfo(
            name=row.name, organisation_id=organisation_id, side=row.side, base_url=row.base_url,  # type: ignore[arg-type]
            api_key=row.api_key, headers=row.headers, model=row.model, tasks=frozenset(row.tasks),
            lobs=frozenset(lob.slug for lob in row.lobs.all()), region=row.region,
            max_output_tokens=row.max_output_tokens, max_concurrency=row.max_concurrency, heads=row.heads,
            prices=sheets.get(row.name) if row.side == "external" else None,
            rate=rates.get(row.node.name) if row.side == "private" and row.node else None,
            upstream_models=names.get(row.name, {}), canaries=trials.get(row.name, {}),
            resting={w: share for (d, w), (share, _accuracy, _n) in rests.items() if d == row.name},
            quality={w: value for (d, w), value in quality.items() if d == row.name},
            usual_accelerator_ns={w: value for (d, w), value in usual.items() if d == row.name},
            calibrations=maps.get(row.name, {}), cap_name=_cap_name(row.capabilities),
        )  # fmt: skip
    return found


def _cap_name(capabilities: Any) -> str:
    """As a probe found it: newer models of OpenAI refuse `max_tokens`, other servers know nothing else."""
    found = (capabilities or {}).get("found") or {}
    told = found.get("max_tokens") or {}
    return str(told.get("name") or "") if told.get("support") == "yes" else ""


def _versions(organisation_id: int) -> dict[str, VersionInfo]:
    """Name → the version that a job made."""
    named = {public_name(row): row for row in versions_of(organisation_id)}
    return {
        name: VersionInfo(name, row.deployment.name, row.workload.name, row.upstream_model)
        for name, row in named.items()
    }


def _canaries(organisation_id: int) -> dict[str, dict[str, CanaryShare]]:
    """Deployment → workload → the version on trial there."""
    found: dict[str, dict[str, CanaryShare]] = {}
    running = Canary.objects.filter(deployment__organisation_id=organisation_id, state="running")
    for row in running.select_related("deployment", "workload", "version"):
        share = CanaryShare(row.version.upstream_model, row.percent, str(row.pk))
        found.setdefault(row.deployment.name, {})[row.workload.name] = share
    return found
