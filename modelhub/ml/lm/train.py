"""Train the demonstration language model: `python -m modelhub.ml.lm.train [--smoke] [--out DIR]`.

Half an hour on one core that multiplies bfloat16; stop it at any time and start it again to go on.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from modelhub.ml.lm import corpus as corpora
from modelhub.ml.lm.config import SMOKE, LmConfig
from modelhub.ml.lm.loop import Plan, fit, has_fast_bf16
from modelhub.ml.lm.tokenizer import train_tokenizer


def progress_printer(every_s: float = 5.0) -> Callable[[int, int, str], None]:
    """A progress bar on stderr, one line at most every few seconds, with the time that is left."""
    began = last = time.monotonic()
    first = 0

    def report(done: int, total: int, message: str) -> None:
        nonlocal last, first
        first = first or done
        now = time.monotonic()
        if now - last < every_s and done < total:
            return
        last = now
        left = (now - began) / max(1, done - first + 1) * (total - done)
        bar = "#" * (30 * done // total)
        print(f"[{bar:<30}] {done}/{total} {message}, {left / 60:.0f} min left", file=sys.stderr, flush=True)

    return report


def prepare(cfg: LmConfig, work: Path, smoke: bool, seed: int) -> corpora.Corpus:
    """Tokenizer and token streams in `work`, made once; a smoke run reads six modules and a few rows."""
    from tokenizers import Tokenizer

    streams, vocabulary = work / "corpus.npz", work / "tokenizer.json"
    if streams.exists() and vocabulary.exists():
        with np.load(streams, allow_pickle=False) as saved:
            return corpora.Corpus(saved["train"], saved["val"], int(saved["val_bytes"]))
    modules, rows = (6, 24) if smoke else (None, None)
    documents = [*corpora.library_documents(modules), *corpora.text_documents(rows=rows)]
    tokenizer: Tokenizer = train_tokenizer((d.text for d in documents if not d.ask), cfg.vocab_size)
    made = corpora.tokenise(documents, tokenizer, seed)
    tokenizer.save(str(vocabulary))
    partial = work / "corpus.partial.npz"
    np.savez_compressed(partial, train=made.train, val=made.val, val_bytes=made.val_bytes)
    os.replace(partial, streams)
    return made


def default_work(smoke: bool) -> Path:
    """Where a run keeps what it needs to be resumed: under SWITCHYARD_HOME."""
    return (
        Path(os.environ.get("SWITCHYARD_HOME", "var")) / "train" / ("lm-tiny-smoke" if smoke else "lm-tiny")
    )


def main(argv: list[str] | None = None) -> int:
    """Prepare, train, export and describe. Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--smoke", action="store_true", help="seconds instead of half an hour: proves the way"
    )
    parser.add_argument("--out", type=Path, help="artifact directory (default artifacts/lm-tiny)")
    parser.add_argument(
        "--work", type=Path, help="where checkpoints are kept (default $SWITCHYARD_HOME/train)"
    )
    parser.add_argument("--steps", type=int, help="training steps")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    work: Path = args.work or default_work(args.smoke)
    out: Path = args.out or (
        work / "artifact" if args.smoke else corpora.REPOSITORY / "artifacts" / "lm-tiny"
    )
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

    cfg = SMOKE if args.smoke else LmConfig()
    plan = Plan(seed=args.seed, bf16=has_fast_bf16() and not args.smoke)
    if args.smoke:
        plan = Plan(steps=12, batch=2, sequence=32, warmup=2, seed=args.seed, save_every=5)
    if args.steps:
        plan = Plan(**{**plan.__dict__, "steps": args.steps})
    corpus = prepare(cfg, work, args.smoke, args.seed)
    print(
        f"{len(corpus.train):,} training tokens, {len(corpus.val):,} for validation",
        file=sys.stderr,
        flush=True,
    )
    fit(cfg, corpus, plan, work / "state.safetensors", progress_printer())

    from modelhub.ml.lm.publish import publish

    publish(work, out, plan, problems=3 if args.smoke else None)
    print(f"{out} is ready", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
