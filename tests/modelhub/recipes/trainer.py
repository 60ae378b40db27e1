"""A trainer in a process of its own, on a database file of its own, for tests that kill it.

    python -m tests.modelhub.recipes.trainer setup            → a company and two equal fine-tuning jobs: their ids
    python -m tests.modelhub.recipes.trainer run JOB [pause]   → works on it; `pause` seconds an epoch leave time to kill
    python -m tests.modelhub.recipes.trainer reap              → what the schedule does: how many were woken

Reads DATABASE_URL and SWITCHYARD_HOME.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
EPOCHS = 8


def set_up() -> list[str]:
    from django.core.management import call_command

    from modelhub.ml import datasets
    from modelhub.services.datasets import upload
    from switchyard.jobs.services import submit_once
    from tests.factories import make_deployment, make_lob, make_organisation, make_version, make_workload

    call_command("migrate", verbosity=0)
    lob = make_lob(make_organisation())
    workload = make_workload(lob, "support-sentiment")
    private = make_deployment(lob.organisation, "private-sparse", "private")
    make_version(private, workload)
    train = datasets.load("support-sentiment", "train")
    pairs = zip(train.texts[:40], train.labels[:40], strict=True)
    content = "\n".join(json.dumps({"text": text, "label": label}) for text, label in pairs).encode()
    dataset = upload(workload=workload, name="ours.jsonl", content=content, user=None)
    params = {"workload": workload.name, "deployment": private.name, "dataset": dataset.pk, "epochs": EPOCHS}
    return [
        submit_once(
            kind="fine_tune", organisation=lob.organisation, lob=lob, params=params | {"rows": 40}, queue="training"
        ).pk
        for _ in range(2)
    ]  # fmt: skip


def run(job_id: str, pause_s: float) -> None:
    from modelhub.recipes import fine_tune
    from modelhub.tasks import run_job
    from switchyard.jobs.runner import Context

    fine_tune.MOST_JUDGED = 32
    progress = Context.progress

    def slow(self: Context, share: float, message: str, **data: object) -> None:
        progress(self, share, message, **data)
        if "epoch" in data:
            time.sleep(pause_s)

    Context.progress = slow  # type: ignore[method-assign]
    run_job(job_id)


def main(words: list[str]) -> None:
    import django

    django.setup()
    if words[0] == "setup":
        print(json.dumps(set_up()))
    elif words[0] == "run":
        run(words[1], float(words[2]) if len(words) > 2 else 0.0)
    else:
        from modelhub.tasks import reap

        print(reap())


if __name__ == "__main__":
    main(sys.argv[1:])
