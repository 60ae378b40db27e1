"""One tiny artifact for all tests of a process: trained for a dozen steps on a few modules, exported, described."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from modelhub.ml.lm import train


@functools.cache
def smoke_run() -> tuple[Path, Path]:
    """The working folder and the artifact of `python -m modelhub.ml.lm.train --smoke`."""
    work = Path(tempfile.mkdtemp(prefix="lm-smoke-"))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    out = work / "artifact"
    assert train.main(["--smoke", "--work", str(work), "--out", str(out)]) == 0
    return work, out
