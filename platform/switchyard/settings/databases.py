"""SQLite (WAL) for one machine, PostgreSQL from DATABASE_URL for production."""

from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

# Without it SQLite's REPLACE removes rows that triggers keep from being removed.
APPEND_ONLY = "PRAGMA recursive_triggers=ON;"


def database_from_url(url: str, home: Path) -> dict[str, Any]:
    """The `default` database. An empty url gives SQLite under `home`."""
    if not url:
        return sqlite(home / "switchyard.db")
    parsed = environ.Env.db_url_config(url)
    engine = parsed.get("ENGINE", "")
    if engine.endswith("sqlite3"):
        return sqlite(Path(parsed["NAME"]))
    if "postgresql" not in engine:
        raise ImproperlyConfigured("DATABASE_URL must start with postgres:// or sqlite:///.")
    return dict(parsed) | {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


def sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000; {APPEND_ONLY}",
        },
    }
