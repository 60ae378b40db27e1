"""Typed readers of the environment: nonsense stops the start with a sentence, never a later surprise."""

import os
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


def env_str(name: str, default: str = "") -> str:
    return os.environ.get(name, default)


def env_bool(name: str, default: bool) -> bool:
    raw = os.environ.get(name)
    if raw is None:
        return default
    if raw.lower() in TRUE:
        return True
    if raw.lower() in FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={raw!r} is neither true nor false; write 1 or 0.")


def env_int(name: str, default: int, *, low: int, high: int) -> int:
    raw = os.environ.get(name)
    if raw is None or raw == "":
        return default
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a whole number.") from None
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name}={value} lies outside {low}..{high}.")
    return value


def env_list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in env_str(name, default).split(",") if part.strip()]


def env_path(name: str, default: Path) -> Path:
    raw = os.environ.get(name)
    return Path(raw).expanduser().resolve() if raw else default


def env_secret(name: str, default: str, *, development: bool) -> str:
    """A secret; outside development it must be set and must not be the published default."""
    value = os.environ.get(name, default)
    if not development and (not value or value == default):
        raise ImproperlyConfigured(
            f"{name} is not set. Outside development it has no default: set a long random value."
        )
    return value


def env_email(name: str) -> dict[str, Any]:
    """Django's EMAIL_* settings of a URL such as smtp+tls://user:password@host:587; without one no server is named."""
    raw = os.environ.get(name, "")
    if not raw:
        return {"EMAIL_HOST": ""}
    try:
        found = {k: v for k, v in environ.Env.email_url_config(raw).items() if v is not None}
    except (ImproperlyConfigured, KeyError, ValueError):
        found = {}
    if not found or (raw.startswith("smtp") and not found.get("EMAIL_HOST")):
        raise ImproperlyConfigured(
            f"{name} doesn't name a mail server; write smtp, smtp+tls or smtp+ssl://user:password@host:port."
        )
    return found
