"""The locks: closures with hashes, no index named, torch outside, and everything the code imports inside."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"switchyard", "routing", "modelhub", "costs", "tests", "bench", "manage"}
LOCKS = ("requirements.lock", "requirements-test.lock", "requirements-gpu.lock")
EXTRAS = {"torch"}  # its own step, never in the lock
# Asked for only where somebody installed them: other runtimes and collectors.
OPTIONAL = {"openvino", "peft", "accelerate", "opentelemetry", "triton", "faker"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text("utf-8")
    return {canonical(n): v for n, v in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.MULTILINE)}


def direct(name: str) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines())
    return {canonical(re.split(r"[\[<>=! ]", line)[0]) for line in lines if line}


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash_and_no_host_is_named(name):
    text = (ROOT / name).read_text("utf-8")
    blocks = re.split(r"\n(?=\S)", text)
    unhashed = [b.split()[0] for b in blocks if re.match(r"[A-Za-z0-9]", b) and "--hash=sha256:" not in b]
    assert unhashed == []
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_torch_is_in_no_lock_and_the_two_onnxruntimes_never_meet():
    assert not any("torch" in pins(name) for name in LOCKS)
    assert "onnxruntime" in pins("requirements.lock")
    assert set(pins("requirements-gpu.lock")) == {"onnxruntime-gpu"}


def test_the_package_that_reports_the_use_of_openvino_is_not_installed():
    assert "openvino" in pins("requirements-test.lock")
    assert not any("openvino-telemetry" in pins(name) for name in LOCKS)


def test_every_direct_name_is_locked():
    assert direct("requirements.in") <= set(pins("requirements.lock"))
    assert direct("requirements-test.in") <= set(pins("requirements.lock")) | set(
        pins("requirements-test.lock")
    )


def test_known_holes_are_closed_by_the_floors():
    lock = pins("requirements.lock")

    def version(name: str) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", lock[name])[:3])

    assert version("django") >= (5, 2, 14)
    assert version("onnx") >= (1, 21)


def imported(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - OURS - EXTRAS - OPTIONAL - set(sys.stdlib_module_names) - {"__future__"}


@pytest.mark.parametrize("folder", ["platform", "routing", "modelhub", "costs"])
def test_what_the_code_imports_is_named_as_a_direct_requirement(folder):
    distributions = packages_distributions()
    wanted = direct("requirements.in")
    loose = {
        name
        for name in imported(ROOT / folder)
        if not any(canonical(d) in wanted for d in distributions.get(name, ()))
    }
    assert loose == set()
