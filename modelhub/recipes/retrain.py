"""Records → a head fitted anew: a tabular model on a customer's own rows, kept as a candidate version.

read rows → fit → sign → keep the candidate
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from modelhub import artifacts
from modelhub.ml.tabular.retrain import TooFewRows, retrain
from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.services.records import read_records
from modelhub.services.signatures import sign_artifact
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
    values = {
        "upstream_model": f"{deployment.model}/{out.name}", "artifact": str(out.relative_to(home)),
        "digest": artifacts.digest(out / artifacts.MANIFEST), "metrics": manifest["facts"],
        "lineage": {
            "dataset": dataset.pk, "sha256": dataset.digest, "job": context.job.pk, "base": deployment.model,
            "base_digest": artifacts.digest(artifacts.find(deployment.model) / artifacts.MANIFEST),
        },
    }  # fmt: skip
    with transaction.atomic():
        context.write()
        sign_artifact(out)
        candidate, _ = ModelVersion.objects.update_or_create(
            deployment=deployment, workload=workload, version=version, defaults=values,
            create_defaults=values | {"stage": "candidate"},
        )  # fmt: skip
    return {
        "version": version, "candidate": candidate.pk, "deployment": deployment.name, "workload": workload.name,
        "rows": len(records), **manifest["facts"],
        "weight_hash": artifacts.digest(out / "head.onnx"),
    }  # fmt: skip
