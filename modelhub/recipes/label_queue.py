"""Which of a batch's texts to have labelled: unsure, seen differently by student and teacher, of what busy experts see.

ask the live models → worth of each row → keep the worthiest open
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from modelhub.ml.active import combined, disagreement, expert_load, pick, uncertainty
from modelhub.models import Deployment, ExpertActivation, LabelBatch, LabelItem, ModelVersion
from modelhub.recipes.asking import ask_all
from modelhub.recipes.local import open_source
from modelhub.services.labelling import text_of
from switchyard.core.clock import now
from switchyard.core.errors import NotFound
from switchyard.jobs.runner import Context

DAYS = 14


def run(context: Context) -> dict[str, Any]:
    """params: {"batch", "deployment", "others", "count"}. Opens the chosen rows, drops the texts of the others."""
    batch = LabelBatch.objects.select_related("workload__lob").filter(pk=context.params["batch"]).first()
    if batch is None or batch.workload.organisation_id != context.job.organisation_id:
        raise NotFound("The batch of this job is gone.")
    items = list(batch.items.select_related("batch__workload__lob"))
    texts = [text_of(item) for item in items]
    names = [context.params["deployment"], *context.params.get("others", [])]
    found = []
    for place, name in enumerate(names):
        deployment = Deployment.objects.get(organisation_id=context.job.organisation_id, name=name)
        version = ModelVersion.objects.filter(
            workload=batch.workload, deployment=deployment, stage="live"
        ).first()
        source = open_source(deployment, batch.workload, version)
        share = 0.9 / len(names)
        found.append(ask_all(context, source, texts, since=share * place, until=share * (place + 1)).items)
        context.device(source.device())
    guesses = [str(item["label"]) for item in found[0]]
    parts = _parts(batch, found, guesses)
    worth = combined(parts)
    chosen = set(pick(worth, None, int(context.params["count"]), seed=0).tolist())
    context.write()
    for place, item in enumerate(items):
        item.guess, item.score = guesses[place][:200], round(float(worth[place]), 6)
        item.why = {name: round(float(values[place]), 4) for name, values in parts.items()}
        item.state = "open" if place in chosen else "skipped"
    kept = [item for item in items if item.state == "open"]
    LabelItem.objects.bulk_update(kept, ["guess", "score", "why", "state"], batch_size=500)
    batch.items.exclude(pk__in=[item.pk for item in kept]).delete()  # texts nobody will label aren't kept
    LabelBatch.objects.filter(pk=batch.pk).update(state="open")
    return {"batch": batch.pk, "texts": len(texts), "chosen": len(kept), "by": sorted(parts)}


def _parts(batch: LabelBatch, found: list[list[Any]], guesses: list[str]) -> dict[str, np.ndarray]:
    tables = [_table(rows) for rows in found]
    parts = {"uncertainty": uncertainty(tables[0][0])}
    if len(tables) > 1 and tables[0][1] == tables[1][1]:
        parts["disagreement"] = disagreement(tables[1][0], tables[0][0])
    load = _load_by_label(batch)
    if load:
        parts["expert_load"] = expert_load(guesses, load)
    return parts


def _table(rows: list[Any]) -> tuple[np.ndarray, list[str]]:
    """Scores (N, L) and their labels in one order."""
    labels = sorted({score["label"] for row in rows for score in row["scores"]})
    place = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(rows), len(labels)))
    for i, row in enumerate(rows):
        for score in row["scores"]:
            table[i, place[score["label"]]] = score["score"]
    return table, labels


def _load_by_label(batch: LabelBatch) -> dict[str, float]:
    """Label → how busy the experts are that its texts wake: the mean of all traffic over them, weighted by how it uses them."""
    rows = ExpertActivation.objects.filter(
        organisation_id=batch.workload.organisation_id, source="serving", day__gte=now().date() - timedelta(days=DAYS),
        head__startswith=batch.workload.name,
    ).exclude(label="")  # fmt: skip
    sums: dict[str, np.ndarray] = {}
    for row in rows[:5000]:
        counts = row.counts.astype(float)
        if row.label in sums and sums[row.label].shape != counts.shape:
            continue
        sums[row.label] = sums[row.label] + counts if row.label in sums else counts
    shapes = {counts.shape for counts in sums.values()}
    if len(shapes) != 1:
        return {}
    total = sum(sums.values())
    share = total / np.maximum(total.sum(axis=1, keepdims=True), 1)
    return {
        label: float((counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * share).sum(axis=1).mean())
        for label, counts in sums.items()
    }
