"""A waiting folder becomes a registered model: looked at again, copied by hash and signed; its deployment stays off."""

from __future__ import annotations

from typing import Any

from modelhub.services.folder_imports import folder_of
from modelhub.services.hf_import import import_folder
from switchyard.jobs.runner import Context, Stopped


def run(context: Context) -> dict[str, Any]:
    """params: {"folder", "name", "base_url"}. Result: {"deployment"}. A stop between two files leaves nothing behind."""
    params, job = context.params, context.job

    def told(done: int, of: int) -> None:
        context.progress(0.95 * done / max(1, of), f"{done / 2**20:,.0f} of {of / 2**20:,.0f} MiB copied")
        if context.should_stop():
            raise Stopped

    row = import_folder(
        organisation=job.organisation, folder=folder_of(params["folder"]), name=params["name"], user=job.created_by,
        base_url=params["base_url"], progress=told,
    )  # fmt: skip
    return {"deployment": row.name}
