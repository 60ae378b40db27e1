"""Every knob is documented where an operator looks for it."""

import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

from switchyard.core.conf import SWITCHYARD_DEFAULTS

ROOT = Path(__file__).resolve().parents[2]
READ = re.compile(
    r"""(?:env_(?:str|int|bool|list|path|secret)\(\s*|environ\.get\(\s*|environ\[)["']([A-Z][A-Z0-9_]+)["']"""
)
# Of the system or of libraries, not knobs of ours.
FOREIGN = {"PYTHONPATH", "XDG_RUNTIME_DIR", "HF_HUB_CACHE", "HF_HOME", "PATH", "HOME", "DJANGO_SETTINGS_MODULE",
           "PROMETHEUS_MULTIPROC_DIR", "CUDA_VISIBLE_DEVICES"}  # fmt: skip


def variables() -> set[str]:
    found = set()
    for folder in ("platform", "routing", "modelhub", "costs"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= set(READ.findall(path.read_text("utf-8")))
    return found - FOREIGN


def readme_table() -> str:
    text = (ROOT / "README.md").read_text("utf-8")
    return "\n".join(line for line in text.splitlines() if line.lstrip().startswith("|"))


def test_every_environment_variable_is_in_the_readmes_table():
    table = readme_table()
    assert sorted(name for name in variables() if f"`{name}`" not in table) == []


def test_every_setting_has_a_default_and_says_its_unit_or_is_a_list_or_a_count():
    for name, value in SWITCHYARD_DEFAULTS.items():
        assert name.isupper()
        if isinstance(value, float):
            assert re.search(r"_(S|MS|USD|PCT|SHARE|RATIO)$", name), f"{name} names no unit"


def production(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"}
    clean |= {"DJANGO_SETTINGS_MODULE": "switchyard.settings.prod"} | env
    command = [sys.executable, str(ROOT / "manage.py"), "check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=clean, cwd=ROOT)


def test_production_refuses_to_start_without_its_secrets():
    done = production()
    assert done.returncode != 0
    assert "SWITCHYARD_SECRET_KEY is not set" in done.stderr
    done = production(SWITCHYARD_SECRET_KEY=secrets.token_urlsafe(64))
    assert done.returncode != 0
    assert "SWITCHYARD_KEY_PEPPER is not set" in done.stderr


def test_production_passes_djangos_own_check_of_a_deployment():
    done = production(
        "--deploy", "--fail-level", "WARNING", SWITCHYARD_SECRET_KEY=secrets.token_urlsafe(64),
        SWITCHYARD_KEY_PEPPER=secrets.token_urlsafe(32), SWITCHYARD_HOSTS="switchyard.example",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
