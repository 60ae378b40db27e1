"""Errors of /api/v1 as application/problem+json, in one place."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from switchyard.core.errors import SwitchyardError, ValidationFailed


def problem(
    status: int, title: str, *, code: str, detail: str = "", errors: list[dict[str, Any]] | None = None
) -> Response:
    body: dict[str, Any] = {"type": f"about:blank#{code}", "title": title, "status": status, "code": code}
    if detail:
        body["detail"] = detail
    if errors is None and status == 400:
        errors = [{"path": "", "line": None, "column": None, "message": title}]
    if errors is not None:
        body["errors"] = errors
    return Response(body, status=status, content_type="application/problem+json")


def _flatten(detail: Any, path: str = "") -> list[dict[str, Any]]:
    """DRF's nested details as a flat list of {path, line, column, message}."""
    if isinstance(detail, dict):
        return [
            e for key, value in detail.items() for e in _flatten(value, f"{path}.{key}" if path else str(key))
        ]
    if isinstance(detail, list):
        return [
            e
            for i, value in enumerate(detail)
            for e in _flatten(value, path if isinstance(value, str) else f"{path}[{i}]")
        ]
    return [{"path": path, "line": None, "column": None, "message": str(detail)}]


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: our errors, Django's and DRF's own, all in one shape."""
    if isinstance(exc, ValidationFailed):
        response = problem(exc.status, exc.message, code=exc.code, errors=exc.errors)
    elif isinstance(exc, SwitchyardError):
        where = {"path": exc.param or "", "line": None, "column": None, "message": exc.message}
        response = problem(
            exc.status, exc.message, code=exc.code, errors=[where] if exc.status == 400 else None
        )
    elif isinstance(exc, Http404):
        response = problem(404, "Not found", code="not_found", detail="No such object, or not yours.")
    elif isinstance(exc, PermissionDenied):
        response = problem(403, "Not allowed", code="forbidden", detail=str(exc))
    elif isinstance(exc, exceptions.ValidationError):
        response = problem(400, "The request is not valid", code="invalid_value", errors=_flatten(exc.detail))
    elif isinstance(exc, exceptions.APIException):
        response = problem(exc.status_code, str(exc.detail), code=str(exc.default_code))
        wait = getattr(exc, "wait", None)
        if wait:
            response["Retry-After"] = str(int(wait) + 1)
        challenge = getattr(exc, "auth_header", None)
        if challenge:
            response["WWW-Authenticate"] = challenge
    else:
        return None
    set_rollback()
    return response
