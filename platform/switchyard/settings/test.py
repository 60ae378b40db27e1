"""Tests: fast password hashing, SQLite in memory unless DATABASE_URL says otherwise, tasks run where they are called."""

import tempfile
from pathlib import Path

from switchyard.settings.base import *  # noqa: F403
from switchyard.settings.base import DATABASES, SWITCHYARD, env_str
from switchyard.settings.databases import APPEND_ONLY

HOME = Path(env_str("SWITCHYARD_HOME") or tempfile.mkdtemp(prefix="sy-test-"))
MEDIA_ROOT = HOME / "media"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if not env_str("DATABASE_URL"):
    DATABASES["default"] = {
        "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {"init_command": APPEND_ONLY},
    }  # fmt: skip
CELERY_TASK_ALWAYS_EAGER = False
AXES_ENABLED = False
SWITCHYARD = SWITCHYARD | {"UPSTREAM_CIDRS": ["127.0.0.0/8"]}
