"""Records → a head fitted anew: a tabular model on a customer's own rows, kept as a candidate version.

read rows → fit → sign → keep the candidate
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

from modelhub import artifacts
from modelhub.ml.tabular.retrain import TooFewRows, retrain
from modelhub.models import Dataset, Deployment
from modelhub.services.candidates import keep_candidate
from modelhub.services.records import read_records
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.jobs.runner import Context


def run(context: Context) -> dict[str, Any]:
    """params: {"dataset", "deployment", "seed"?}. Result: cross-validated figures and the candidate's id."""
    organisation, params = context.job.organisation, context.params
    dataset = (
        Dataset.objects.select_related("workload__lob", "lob")
        .filter(pk=params["dataset"], organisation=organisation)
        .first()
    )
    deployment = Deployment.objects.filter(name=params["deployment"], organisation=organisation).first()
    if dataset is None or dataset.workload is None or deployment is None:
        raise NotFound("The data set or the deployment of this job is gone.")
    workload, home = dataset.workload, Path(settings.HOME)
    version = f"rt-{context.job.pk[-8:].lower()}"
    out = home / "artifacts" / deployment.model / "heads" / f"{workload.name}@{version}"
    with context.computing(on_cpu=True):
        records, targets = read_records(dataset)
        context.device("cpu: scikit-learn, one thread")
        context.progress(0.1, f"{len(records)} records read")
        context.check()
        base = artifacts.load_manifest(artifacts.find(deployment.model))
        try:
            manifest = retrain(
                workload.name, records, targets, out, base=base, seed=int(params.get("seed", 0))
            )
        except (TooFewRows, ValueError) as error:
            raise InvalidRequest(f"{error}.") from None
    context.progress(0.95, "fitted, exported, compared with its ONNX form")
    candidate = keep_candidate(
        context, deployment=deployment, workload=workload, version=version, folder=out,
        upstream_model=f"{deployment.model}/{out.name}", metrics=manifest["facts"],
        lineage={
            "dataset": dataset.pk, "sha256": dataset.digest, "job": context.job.pk, "base": deployment.model,
            "base_digest": artifacts.digest(artifacts.find(deployment.model) / artifacts.MANIFEST),
        },
    )  # fmt: skip
    return {
        "version": version, "candidate": candidate.pk, "deployment": deployment.name, "workload": workload.name,
        "rows": len(records), **manifest["facts"],
        "weight_hash": artifacts.digest(out / "head.onnx"),
    }  # fmt: skip
