"""What a command names, found: workloads, deployments, data sets, files of rows. Raises CommandError in words."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandError

from modelhub.models import Dataset, Deployment
from switchyard.tenancy.models import Workload


def workload_named(name: str, organisation: str = "") -> Workload:
    rows = Workload.objects.select_related("lob", "organisation").filter(name=name)
    if organisation:
        rows = rows.filter(organisation__slug=organisation)
    if rows.count() != 1:
        raise CommandError(f"{rows.count()} workloads are called {name!r}; name one, with --organisation.")
    return rows.get()


def deployment_named(name: str, workload: Workload) -> Deployment:
    found = Deployment.objects.filter(organisation=workload.organisation, name=name).first()
    if found is None:
        raise CommandError(f"There is no deployment {name!r}.")
    return found


def dataset_named(pk: str, workload: Workload) -> Dataset:
    found = Dataset.objects.filter(pk=pk, lob=workload.lob).first()
    if found is None:
        raise CommandError(f"There is no data set {pk!r} of {workload.lob.slug}.")
    return found


def content_of(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error.strerror or error}.") from None
