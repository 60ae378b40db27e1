"""`make lock`: pin everything the two requirements files need, as it is installed here, with hashes of every build.

The installed set was tried together, so the lock is its closure: nothing is resolved anew, nothing names an index.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from switchyard.supervisor.home import ROOT

# torch is a step of its own; the trunk's weights need no package; OpenVINO runs without the package that reports its use
OUTSIDE = {"torch", "sentence-transformers", "openvino-telemetry"}
LOCKS = (("requirements.lock", ("requirements.in",)),
         ("requirements-test.lock", ("requirements.in", "requirements-test.in")))  # fmt: skip


def names_of(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def closure(wanted: list[Requirement]) -> dict[str, str]:
    """Name → installed version of everything reachable. PackageNotFoundError names what isn't installed."""
    found: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(wanted)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if name in OUTSIDE or key in seen:
            continue
        seen.add(key)
        distribution = metadata.distribution(name)
        found[name] = distribution.version
        for line in distribution.requires or []:
            needed = Requirement(line)
            extras = ["", *requirement.extras]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def hashed(pins: dict[str, str]) -> str:
    """The pins with the hashes of all their files, by uv."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as source:
        source.write("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())))
        source.flush()
        command = [
            uv,
            "pip",
            "compile",
            "--quiet",
            "--no-deps",
            "--generate-hashes",
            "--no-annotate",
            "--no-header",
        ]
        command += ["--python-version", "3.11", source.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    before: dict[str, str] = {}
    for lock, sources in LOCKS:
        pins = closure([r for source in sources for r in names_of(ROOT / source)])
        path = ROOT / lock
        head = path.read_text("utf-8").splitlines()[0]
        path.write_text(f"{head}\n{hashed({n: v for n, v in pins.items() if n not in before})}", "utf-8")
        before |= pins
        print(f"{lock}: {len(pins)} packages in all")


if __name__ == "__main__":
    main()
