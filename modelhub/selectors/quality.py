"""How good each deployment is at each workload, and how long it takes: what routing may weigh."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Sum

from costs.models import SpendHour
from modelhub import artifacts
from modelhub.models import AccuracyBurn, Evaluation, ModelVersion
from switchyard.core.clock import now

WINDOW_DAYS = 15


def latest_quality(organisation_id: int) -> dict[tuple[str, str], tuple[float, int]]:
    """(deployment, workload) → (share of right answers, rows) of the live version's latest evaluation.

    Candidates and retired versions are judged too; what they reach says nothing of what answers now. Where an accuracy
    objective burns, feedback speaks instead.
    """
    live = _live_versions(organisation_id)
    rows = Evaluation.objects.filter(workload__organisation_id=organisation_id, n__gt=0).order_by("at")
    values = rows.values_list("deployment__name", "workload__name", "version", "correct", "n")
    found = {
        (deployment, workload): (correct / n, n)
        for deployment, workload, version, correct, n in values
        if version in ("", live.get((deployment, workload), version))
    }
    return found | {
        key: (accuracy, judged) for key, (_share, accuracy, judged) in resting(organisation_id).items()
    }


def resting(organisation_id: int) -> dict[tuple[str, str], tuple[int, float, int]]:
    """(deployment, workload) → (per cent of its traffic it keeps, accuracy as judged, rows) where an error budget burns."""
    rows = AccuracyBurn.objects.filter(objective__workload__organisation_id=organisation_id).exclude(
        state="recovered"
    )
    names = rows.values_list("deployment__name", "objective__workload__name", "share", "accuracy", "judged")
    return {
        (deployment, workload): (share, accuracy, judged)
        for deployment, workload, share, accuracy, judged in names
    }


def _live_versions(organisation_id: int) -> dict[tuple[str, str], str]:
    rows = ModelVersion.objects.filter(stage="live", workload__organisation_id=organisation_id)
    names = rows.values_list("deployment__name", "workload__name", "version")
    return {(deployment, workload): version for deployment, workload, version in names}


def usual_accelerator_ns(organisation_id: int) -> dict[tuple[str, str], int]:
    """(deployment, workload) → nanoseconds an answer usually takes: metered ones first, else as evaluated."""
    evaluated = Evaluation.objects.filter(
        workload__organisation_id=organisation_id, p50_ms__isnull=False
    ).order_by("at")
    usual = {
        (deployment, workload): int(p50_ms * 1e6)
        for deployment, workload, p50_ms in evaluated.values_list(
            "deployment__name", "workload__name", "p50_ms"
        )
    }
    metered = SpendHour.objects.filter(
        organisation_id=organisation_id,
        side="private",
        start__gte=now() - timedelta(days=WINDOW_DAYS),
        answers__gt=0,
    )
    sums = metered.values_list("deployment", "workload").annotate(
        ns=Sum("accelerator_ns"), count=Sum("answers")
    )
    usual |= {(deployment, workload): ns // count for deployment, workload, ns, count in sums if ns}
    return usual


def labels_of(model_ids: list[str]) -> dict[str, tuple[str, ...]]:
    """Workload → its labels, from the manifests of text models."""
    labels: dict[str, tuple[str, ...]] = {}
    for model_id in model_ids:
        try:
            manifest = artifacts.load_manifest(artifacts.find(model_id))
        except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt):
            continue
        for head, facts in manifest.get("heads", {}).items():
            if isinstance(facts, dict) and facts.get("labels"):
                labels.setdefault(head, tuple(map(str, facts["labels"])))
    return labels
