"""Folders that wait to be imported, and the job that takes one in.

An operator puts a Hugging Face folder into `$SWITCHYARD_HOME/imports`; nobody names any other place on the machine.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.translation import gettext as _

from modelhub.models import Deployment
from modelhub.services.hf_import import look
from modelhub.services.registration import checked_base_url
from switchyard.core.errors import Conflict, InvalidRequest, ValidationFailed
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import Organisation, User

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def waiting_folders() -> list[dict[str, Any]]:
    """Every folder that waits: its name, bytes, parameters, what is wrong with it. Headers are read, no weights."""
    root = _root()
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    found = []
    for name in names:
        if not NAME.fullmatch(name):
            continue
        seen = look(root / name)
        title = seen.config.get("architectures") or [""]
        found.append(
            {
                "folder": name, "bytes": seen.bytes, "parameters": seen.parameters, "architecture": str(title[0])[:120],
                "errors": seen.faults[:20],
            }
        )  # fmt: skip
    return found


def start_import(
    *, organisation: Organisation, folder: str, name: str, user: User | None, base_url: str
) -> Job:
    """A job that takes a waiting folder in; it is looked at now, so that what is wrong is told before anything is copied.

    Raises InvalidRequest for a folder that doesn't wait, ValidationFailed with all that is wrong with it, Conflict for a name
    that is taken.
    """
    path = folder_of(folder)
    checked_base_url(base_url)
    if seen := look(path).faults:
        raise ValidationFailed(
            _("%(folder)s can't be imported: %(count)d things are wrong.")
            % {"folder": folder, "count": len(seen)},
            seen,
        )
    own = Deployment.objects.filter(organisation=organisation, name=name)
    if own.exists() or (Path(settings.HOME) / "artifacts" / name).exists():
        raise Conflict(_("The name %(name)s is taken: choose another.") % {"name": name}, code="name_taken")
    return submit_once(
        kind="import", organisation=organisation, lob=None, user=user, unique_key=f"import:{name}",
        params={"folder": folder, "name": name, "base_url": base_url},
    )  # fmt: skip


def folder_of(name: str) -> Path:
    """A waiting folder by its name. Raises InvalidRequest."""
    path = _root() / name
    if not NAME.fullmatch(name) or path.is_symlink() or not path.is_dir():
        raise InvalidRequest(
            _("No folder %(name)s waits in the imports of this installation.") % {"name": name[:120]},
            param="folder",
        )
    return path


def _root() -> Path:
    return Path(settings.HOME) / "imports"
