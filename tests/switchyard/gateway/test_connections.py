"""Pages give their database connection back: each request has a thread of its own, so one that is kept is never used again.

Seen on PostgreSQL with sixty connections: after as many pages within a minute every further one failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import switchyard.asgi
from django.db import connections
assert {connections[name].settings_dict["CONN_MAX_AGE"] for name in connections} == {0}
"""


def test_the_web_process_keeps_no_connection_for_a_next_request(tmp_path: Path) -> None:
    environment = os.environ | {
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "SWITCHYARD_HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
