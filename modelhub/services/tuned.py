"""What a fine-tune leaves besides its version: a name that /v1 takes, the tokens it learnt from, a file of its curve."""

from __future__ import annotations

import csv
import io
import logging
from typing import Any

from modelhub.models import Dataset
from modelhub.selectors.tuned import lead_time, public_name, version_of
from modelhub.services import files
from modelhub.services.datasets import read_rows
from switchyard.jobs.models import Job
from switchyard.tenancy.services import bump_config

log = logging.getLogger(__name__)
COLUMNS = ("step", "train_loss", "valid_loss", "valid_mean_token_accuracy")


def with_trained_tokens(job: Job, result: dict[str, Any]) -> dict[str, Any]:
    """The result with how many tokens were read in training, counted by the trunk's tokenizer unless the recipe said."""
    if job.kind != "fine_tune" or result.get("trained_tokens") is not None or not result.get("epochs"):
        return result
    dataset = Dataset.objects.select_related("lob").filter(pk=job.params.get("dataset") or "").first()
    if dataset is None:
        return result
    return result | {"trained_tokens": _tokens(dataset) * int(result["epochs"])}


def _tokens(dataset: Dataset) -> int:
    from django.conf import settings

    from modelhub.ml import tokens
    from modelhub.ml.trunk import ensure_trunk

    tokenizer = tokens.load_tokenizer(ensure_trunk(settings.HOME) / "tokenizer.json")
    texts = [f"{text} {label}" for text, label in read_rows(dataset)]
    return sum(len(row) for row in tokens.encode(tokenizer, texts, 4096))


def name_the_version(job: Job) -> None:
    """Give the version its public name and lineage, and keep its curve as a file; in the job's last transaction."""
    version = version_of(job)
    if version is None:
        return
    version.lineage = version.lineage | {
        "suffix": job.params.get("suffix") or "", "steps": {
            row["step"]: row["at"].isoformat() for row in lead_time(job, version)["steps"] if row["at"]
        },
    }  # fmt: skip
    version.save(update_fields=["lineage"])
    job.result = job.result | {"fine_tuned_model": public_name(version), "result_files": _curve_file(job)}
    Job.objects.filter(pk=job.pk).update(result=job.result)
    bump_config()


def curve(job: Job) -> list[dict[str, Any]]:
    """Points of the learning curve in the words of /v1, with the event each is from."""
    points = []
    for event in job.events.all():
        data = event.data
        step = data.get("epoch", data.get("step"))
        if data.get("loss") is None or step is None:
            continue
        points.append({
            "event": event.pk, "at": event.at, "step": int(step), "train_loss": data["loss"],
            "valid_loss": data.get("held_loss"), "valid_mean_token_accuracy": data.get("accuracy"),
        })  # fmt: skip
    return points


def _curve_file(job: Job) -> list[str]:
    """Its id in a list; none without a curve or room on the disk: the job succeeded all the same."""
    points = curve(job)
    if not points or job.lob is None:
        return []
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(points)
    try:
        kept = files.keep_result(job.lob, f"{job.pk}.csv", out.getvalue().encode())
    except OSError:
        log.exception("the curve of job %s could not be kept", job.pk)
        return []
    return [kept.pk]
