"""Build `experts.c` once for this processor and open it.

The library lies in the home's `hal/` folder under a name made of the source, the options and the processor's features, so
a changed source or another machine never meets an old one. Where no C compiler is found the backend is not present.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from modelhub import artifacts

SOURCE = Path(__file__).with_name("experts.c")
COMPILERS = ("cc", "gcc", "clang")
OPTIONS = (
    "-std=gnu11", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC",
)  # fmt: skip
BUILD_S = 120


class NotBuilt(RuntimeError):
    """There is no library and none could be made: no compiler, or one that refused."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library, built where it lacks. Raises NotBuilt."""
    path = library_path(artifacts.home() / "hal")
    if not path.exists():
        build(path)
    return ctypes.CDLL(str(path))


def library_path(folder: Path) -> Path:
    """Where the library for this source and this processor lies, built or not."""
    words = (SOURCE.read_text("utf-8"), *OPTIONS, platform.machine(), *sorted(cpu_features()))
    digest = hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]
    return folder / f"experts-{digest}.so"


def build(path: Path) -> None:
    """Compile to `path`; of processes that come at once the first compiles. Raises NotBuilt."""
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        raise NotBuilt(f"no C compiler: looked for {', '.join(COMPILERS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            _compile(compiler, path)


def _compile(compiler: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as folder:
        made = Path(folder) / path.name
        command = [compiler, *OPTIONS, *own_processor(), str(SOURCE), "-lm", "-o", str(made)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotBuilt(f"{compiler}: {error}") from error
        if done.returncode:
            raise NotBuilt(f"{compiler} refused: {done.stderr.strip()[-300:]}")
        os.replace(made, path)


def own_processor() -> tuple[str, ...]:
    """The option that allows every instruction of this processor."""
    return ("-mcpu=native",) if platform.machine() in ("arm64", "aarch64") else ("-march=native",)


def cpu_features() -> set[str]:
    """What the processor says it can; empty where the system doesn't tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return {platform.processor()}
    words = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(words.partition(":")[2].split())
