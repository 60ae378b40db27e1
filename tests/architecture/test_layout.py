"""The shape of the repository: what must not be there, how big things may be, and words that don't belong."""

import ast
import platform
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("platform", "routing", "modelhub", "costs", "bench")
MAX_LINES = 400
MEBIBYTE = 1024 * 1024


def tracked(*patterns: str) -> list[Path]:
    """Files git knows or would take; every file where git isn't there."""
    try:
        command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *patterns]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        names = [name for name in done.stdout.decode().split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [str(p.relative_to(ROOT)) for pattern in patterns or ("*",) for p in ROOT.rglob(pattern)]
    return [ROOT / name for name in names if (ROOT / name).is_file() and ".venv" not in name]


def test_platform_is_no_package_so_that_pythons_own_stays_first():
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert [p.name for p in (ROOT / "platform").glob("*.py")] == []
    assert platform.python_version()  # the standard library's


def test_every_folder_of_tests_is_a_package():
    missing = {p.parent for p in tracked("tests/**/*.py", "tests/*.py")} - {
        p.parent for p in (ROOT / "tests").rglob("__init__.py")
    }
    assert sorted(str(p.relative_to(ROOT)) for p in missing) == []


def test_files_of_code_stay_readable():
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked("*.py")
        if path.parts[len(ROOT.parts)] in CODE and "migrations" not in path.parts
        if (count := len(path.read_text("utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_no_file_is_over_25_mib_and_no_pickle_is_kept():
    assert [p.name for p in tracked() if p.stat().st_size > 25 * MEBIBYTE] == []
    assert [p.name for p in tracked() if p.suffix in {".pkl", ".pickle", ".pt", ".pth", ".joblib"}] == []


# Written in pieces, so that this file doesn't hold them.
FORBIDDEN = re.compile(
    "|".join(["/wo" + "rk/", "/ro" + "ot/", "/tmp/" + "build", r"AI ass" + "istant", "file:///o" + "pt"])
)


@pytest.mark.parametrize("suffix", ["py", "md", "toml", "yml", "yaml", "html", "js", "in", "lock", "sh"])
def test_nothing_speaks_of_the_machine_it_was_written_on(suffix):
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked(f"*.{suffix}")
        if (match := FORBIDDEN.search(path.read_text("utf-8", "replace")))
    ]
    assert found == []


def test_the_web_process_never_needs_torch():
    """No module of the gateway, the pages or money imports torch, not even inside a function."""
    guilty = []
    for path in tracked("*.py"):
        parts = path.relative_to(ROOT).parts
        if parts[0] not in ("platform", "routing", "costs"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] == "torch" for name in names):
                guilty.append(str(path.relative_to(ROOT)))
    assert guilty == []
