"""One small artifact for all tests of a process: few rows, five trees."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from modelhub.ml.tabular import train


@functools.cache
def smoke_artifact() -> Path:
    """The artifact that `python -m modelhub.ml.tabular.train --smoke` makes."""
    out = Path(tempfile.mkdtemp(prefix="tabular-smoke-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    assert train.main(["--smoke", "--out", str(out)]) == 0
    return out / "tabular-smoke"
