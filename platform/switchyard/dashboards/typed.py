"""What somebody typed into a form that was refused: kept across the redirect, shown once more, then forgotten."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

NEVER = frozenset(
    {"csrfmiddlewaretoken", "secret", "password", "api_key", "text"}
)  # secrets, and whole documents
LONGEST = 4_000


def keep_typed(request: HttpRequest, form: str) -> None:
    """Call it beside the message that says what was wrong, before the redirect to the page of the form."""
    fields = {name: value[:LONGEST] for name, value in request.POST.items() if name not in NEVER}
    request.session[f"typed:{form}"] = fields


def typed_in(request: HttpRequest, form: str) -> dict[str, Any]:
    """What was kept for the form; a file of a page's figures takes nothing away."""
    return {} if "csv" in request.GET else request.session.pop(f"typed:{form}", {})
