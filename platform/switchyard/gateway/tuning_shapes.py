"""Jobs, events and checkpoints in the shapes of OpenAI's fine-tuning."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from switchyard.core.money import format_usd
from switchyard.jobs.models import FINAL, Job, JobEvent

LEVELS = {"info": "info", "warning": "warn", "error": "error"}


def status_of(job: Job) -> str:
    """Ours → theirs; a job that no worker was told of yet is still with its files."""
    if job.state == "queued" and job.attempt == 0 and job.woken_at is None:
        return "validating_files"
    return {"quarantined": "failed"}.get(job.state, job.state)


def job_as_object(job: Job) -> dict[str, Any]:
    """OpenAI's `FineTuningJob`, and what we know besides under `switchyard`."""
    params, result = job.params, job.result
    used = {
        "n_epochs": result.get("epochs") or params.get("epochs", "auto"),
        "batch_size": result.get("batch_size") or params.get("batch_size", "auto"),
        "learning_rate_multiplier": params.get("learning_rate_multiplier", "auto"),
    }
    failed = status_of(job) == "failed"
    return {
        "id": job.pk, "object": "fine_tuning.job", "created_at": _seconds(job.created_at),
        "error": {"code": job.error_code or job.state, "message": job.error or "The job failed.", "param": None}
        if failed else None,
        "fine_tuned_model": result.get("fine_tuned_model") if job.state == "succeeded" else None,
        "finished_at": _seconds(job.finished_at) if job.state in FINAL else None,
        "hyperparameters": used, "model": params.get("model") or params.get("deployment", ""),
        "organization_id": job.organisation.slug, "result_files": result.get("result_files", []),
        "status": status_of(job), "trained_tokens": result.get("trained_tokens") if job.state == "succeeded" else None,
        "training_file": params.get("training_file") or params.get("dataset", ""),
        "validation_file": params.get("validation_file") or params.get("validation_dataset"),
        "estimated_finish": _seconds(job.eta) if job.state == "running" else None, "integrations": [],
        "metadata": params.get("metadata") or None, "seed": params.get("seed", 0),
        "method": {"type": "supervised", "supervised": {"hyperparameters": used}},
        "user_provided_suffix": params.get("suffix") or None,
        "switchyard": {
            "workload": params.get("workload"), "deployment": params.get("deployment"), "adapter": params.get("method"),
            "progress": round(job.progress, 4), "message": job.message, "device": job.device,
            "cost_usd": format_usd(job.cost_nusd), "reserved_usd": format_usd(job.reserved_nusd),
            "estimated_usd": None if job.estimated_nusd is None else format_usd(job.estimated_nusd),
        },
    }  # fmt: skip


def event_as_object(event: JobEvent) -> dict[str, Any]:
    metrics = event.data.get("loss") is not None
    return {
        "id": f"ftevent-{event.pk}", "object": "fine_tuning.job.event", "created_at": _seconds(event.at),
        "level": LEVELS.get(event.level, "info"), "message": event.message,
        "type": "metrics" if metrics else "message", "data": {k: v for k, v in event.data.items() if k != "trace"},
    }  # fmt: skip


def event_key(text: str, prefix: str = "ftevent-") -> int:
    """The number in an event's id. Raises ValueError."""
    number = text.removeprefix(prefix)
    if not text.startswith(prefix) or not number.isascii() or not number.isdigit() or len(number) > 18:
        raise ValueError(text)
    return int(number)


def checkpoint_rows(job: Job) -> QuerySet[JobEvent]:
    """Log lines at whose moment a checkpoint was whole on the disk: those that say a loss."""
    return job.events.filter(data__has_key="loss")


def checkpoint_as_object(event: JobEvent, job: Job) -> dict[str, Any]:
    data = event.data
    step = int(data.get("epoch", data.get("step", 0)) or 0)
    made = job.result.get("fine_tuned_model") or ":".join(
        ("ft", str(job.params.get("deployment")), str(job.params.get("workload")), job.params.get("suffix") or "",
         job.pk[-8:].lower())
    )  # fmt: skip
    return {
        "id": f"ftckpt-{event.pk}", "object": "fine_tuning.job.checkpoint", "created_at": _seconds(event.at),
        "fine_tuning_job_id": job.pk, "fine_tuned_model_checkpoint": f"{made}:ckpt-step-{step}", "step_number": step,
        "metrics": {
            "step": step, "train_loss": data.get("loss"), "valid_loss": data.get("held_loss"),
            "full_valid_loss": data.get("held_loss"), "full_valid_mean_token_accuracy": data.get("accuracy"),
        },
    }  # fmt: skip


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
