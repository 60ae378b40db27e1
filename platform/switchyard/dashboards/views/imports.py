"""Importing a local Hugging Face folder: what waits, and the button that takes it in."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub.services.folder_imports import start_import, waiting_folders
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.dashboards.pages import PageRequest, page, require_role
from switchyard.tenancy.models import Organisation

KEEPERS = ("operator", "model_engineer")
DEFAULT_URL = "http://127.0.0.1:8001/v1"


def imports_for(scope: Any) -> list[dict[str, Any]] | None:
    """Folders that wait, for whoever may take them in: a keeper of models in all lines of business; else None."""
    part = scope.narrowed(*KEEPERS)
    return waiting_folders() if part.organisation_id is not None and part.lob_ids is None else None


@require_POST
@page
def import_folder(request: PageRequest) -> HttpResponse:
    """Start the job; what is wrong is told where the folder is listed."""
    scope = require_role(request, *KEEPERS)
    if scope.lob_ids is not None:
        raise Http404
    try:
        job = start_import(
            organisation=Organisation.objects.get(pk=scope.organisation_id), folder=request.POST.get("folder", ""),
            name=request.POST.get("name", "").strip(), user=request.user,  # type: ignore[arg-type]
            base_url=request.POST.get("base_url", "").strip() or DEFAULT_URL,
        )  # fmt: skip
    except ValidationFailed as error:
        messages.error(request, " ".join([error.message, *(e["message"] for e in error.errors[:5])]))
        return redirect("dashboards:models")
    except SwitchyardError as error:
        messages.error(request, error.message)
        return redirect("dashboards:models")
    messages.success(request, _("The folder is being taken in; its page tells how far it is."))
    return redirect("dashboards:job", job.pk)
