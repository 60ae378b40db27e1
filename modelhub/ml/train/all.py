"""`python -m modelhub.ml.train.all [--smoke] [--trunk cuda|cpu]`: retrain every shipped model, one process after another.

`make models` is this command; `make models TRUNK=cuda` trains the text model's trunk anew, too.
"""

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
    "left as it is: its trunk is trained on a GPU in minutes, on a processor in hours. `make models TRUNK=cuda` (or "
    "TRUNK=cpu) trains it: `python -m modelhub.ml.train.encoders`, then `python -m modelhub.ml.text.sparse`."
)
DEVICES = ("cuda", "cpu")
CPU_PLAN = ("--workers", "1", "--deadline-s", "1e9")  # one run after another, however long it takes


def has_own_trunk(folder: Path) -> bool:
    """Whether the text model that lies there has a trunk of its own, which the step for a frozen one would replace."""
    return (folder / artifacts.MANIFEST).is_file() and "trunk_kind" in artifacts.load_manifest(folder)


def trunk_commands(out: Path, device: str, work: Path, *, smoke: bool = False) -> list[list[str]]:
    """The commands that train the text model's own trunk, make its artifact, and measure what its experts serve.

    Its wide channels are taken over from the artifact that lies there, so that one must exist.
    """
    scratch, gathered = work / "scratch", work / "gathered"
    train = [
        sys.executable,
        "-m",
        "modelhub.ml.train.encoders",
        "--out",
        str(gathered),
        "--scratch",
        str(scratch),
    ]
    train += ["--device", device, *(CPU_PLAN if device == "cpu" else ())]
    make = [sys.executable, "-m", "modelhub.ml.text.sparse", "--from", str(gathered), "--out", str(out)]
    make += ["--tables-from", str(out / "txt-base")]
    if smoke:
        train += ["--limit", "12", "--epochs", "0.01", "--only", "upcycled-1"]
        make += ["--limit", "12", "--work", str(work / "smoke")]
    cards = [
        sys.executable,
        "-m",
        "modelhub.ml.activation.served_encoder",
        "--artifact",
        str(out / "txt-base"),
    ]
    return [train, make, cards]


def run(
    out: Path,
    *,
    smoke: bool = False,
    only: Sequence[str] = (),
    steps: Sequence[Step] = STEPS,
    trunk: str | None = None,
) -> dict[str, float]:
    """Run the steps (those whose command holds one of `only`, where given). Gives seconds by step.

    `trunk` names the device on which a text model's own trunk is trained anew; without it that model stays as it is.

    Raises subprocess.CalledProcessError at the first step that fails; a second run resumes where it can.
    """
    seconds: dict[str, float] = {}
    for module, extra, folder in steps:
        name = " ".join((module, *extra))
        if only and not any(word in name for word in only):
            continue
        if "txt-base" in extra and has_own_trunk(out / "txt-base"):
            if trunk is None:
                print(f"== {name}: {OWN_TRUNK}", file=sys.stderr, flush=True)
                continue
            for command in trunk_commands(out, trunk, artifacts.home() / "train" / "trunk", smoke=smoke):
                seconds[" ".join(command[2:3])] = _timed(command)
            continue
        command = [
            sys.executable,
            "-m",
            module,
            *extra,
            "--out",
            str(out / folder),
            *(["--smoke"] if smoke else []),
        ]
        seconds[name] = _timed(command)
    return seconds


def _timed(command: list[str]) -> float:
    started = time.monotonic()
    print(f"== {' '.join(command[2:])}", file=sys.stderr, flush=True)
    subprocess.run(command, check=True)
    return round(time.monotonic() - started, 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Retrain everything into `--out` (the repository's artifacts) and say how long each step took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--smoke", action="store_true", help="few rows and steps: proves the pipeline")
    parser.add_argument("--only", nargs="*", default=(), help="words that a step's command must hold")
    parser.add_argument(
        "--trunk", choices=DEVICES, help="train the text model's own trunk anew, on this device"
    )
    chosen = parser.parse_args(arguments)
    for name, taken in run(chosen.out, smoke=chosen.smoke, only=chosen.only, trunk=chosen.trunk).items():
        print(f"{taken:8.1f} s  {name}")


if __name__ == "__main__":
    main()
