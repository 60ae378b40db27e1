"""`python -m modelhub.ml.train.all [--smoke]`: retrain every shipped model, one process after another."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from modelhub import artifacts

# Module, its arguments, and the folder under the artifacts that it wants named, if it wants one of its own.
# The student learns from the text model before it; the others stand alone.
Step = tuple[str, tuple[str, ...], str]
STEPS: tuple[Step, ...] = (
    ("modelhub.ml.train.text", ("--model", "txt-base"), ""),
    ("modelhub.ml.train.text", ("--model", "txt-edge"), ""),
    ("modelhub.ml.risk.train", (), ""),
    ("modelhub.ml.tabular.train", (), ""),
    ("modelhub.ml.lm.train", (), "lm-tiny"),
)

OWN_TRUNK = (
    "left as it is: its trunk is trained on a GPU in minutes, on a processor in hours. Train it by `python -m "
    "modelhub.ml.train.encoders`, then make the artifact by `python -m modelhub.ml.text.sparse`."
)


def has_own_trunk(folder: Path) -> bool:
    """Whether the text model that lies there has a trunk of its own, which the step for a frozen one would replace."""
    return (folder / artifacts.MANIFEST).is_file() and "trunk_kind" in artifacts.load_manifest(folder)


def run(
    out: Path, *, smoke: bool = False, only: Sequence[str] = (), steps: Sequence[Step] = STEPS
) -> dict[str, float]:
    """Run the steps (those whose command holds one of `only`, where given). Gives seconds by step.

    Raises subprocess.CalledProcessError at the first step that fails; a second run resumes where it can.
    """
    seconds: dict[str, float] = {}
    for module, extra, folder in steps:
        name = " ".join((module, *extra))
        if only and not any(word in name for word in only):
            continue
        if "txt-base" in extra and has_own_trunk(out / "txt-base"):
            print(f"== {name}: {OWN_TRUNK}", file=sys.stderr, flush=True)
            continue
        started = time.monotonic()
        print(f"== {name}", file=sys.stderr, flush=True)
        command = [
            sys.executable,
            "-m",
            module,
            *extra,
            "--out",
            str(out / folder),
            *(["--smoke"] if smoke else []),
        ]
        subprocess.run(command, check=True)
        seconds[name] = round(time.monotonic() - started, 1)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Retrain everything into `--out` (the repository's artifacts) and say how long each step took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--smoke", action="store_true", help="few rows and steps: proves the pipeline")
    parser.add_argument("--only", nargs="*", default=(), help="words that a step's command must hold")
    chosen = parser.parse_args(arguments)
    for name, taken in run(chosen.out, smoke=chosen.smoke, only=chosen.only).items():
        print(f"{taken:8.1f} s  {name}")


if __name__ == "__main__":
    main()
