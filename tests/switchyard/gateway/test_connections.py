"""What the web and pages processes hold: no database connection (each request has a thread of its own, so one that is kept is
never used again), and no more code than they answer with.

Seen on PostgreSQL with sixty connections: after as many pages within a minute every further one failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
KEPT = """
from django.db import connections
assert {connections[name].settings_dict["CONN_MAX_AGE"] for name in connections} == {0}
assert not {"torch", "sklearn", "pandas"} & set(sys.modules)
"""
SAVES = """
left_out = {"switchyard.urls", "switchyard.dashboards.views", "drf_spectacular.views", "costs.admin", "costs.api.reports"}
assert not left_out & set(sys.modules), left_out & set(sys.modules)
"""


@pytest.mark.parametrize(
    ("module", "pages_url", "more"),
    [
        ("asgi", "", ""),
        ("asgi", "http://pages:8001", SAVES),
        ("pages_asgi", "", 'assert "switchyard.urls" in sys.modules'),
    ],
)  # fmt: skip
def test_a_process_keeps_no_connection_for_a_next_request_and_loads_what_it_needs(
    tmp_path: Path, module: str, pages_url: str, more: str
) -> None:
    done = started(tmp_path, module, pages_url, more)
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_address_of_pages_that_names_no_place_stops_the_start(tmp_path: Path) -> None:
    done = started(tmp_path, "asgi", "pages:8001", "")
    assert done.returncode != 0 and "ImproperlyConfigured: SWITCHYARD_PAGES_URL='pages:8001'" in done.stderr


def started(tmp_path: Path, module: str, pages_url: str, more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "SWITCHYARD_PAGES_URL": pages_url, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "SWITCHYARD_HOME": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", f"import sys, switchyard.{module}\n{KEPT}\n{more}"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
