"""`python -m modelhub.ml.risk.train`: fit `risk-guard`, and say what it does and what it doesn't.

Real rows come from COLD (Chinese) and the crowd-labelled tweets (English); harmless rows besides are business texts; the rest
are sentences of our own in which every group is named alike. A twin that never meets a fifth of our frames and a sixth of our
words chooses the threshold and says how the model does on what it hasn't met. HateCheck and XSTest are only measured on.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import card, measure, net, planted, vocabulary
from modelhub.ml.risk.net import RiskNet

FALSE_ALARMS = 0.05  # on validation rows of either language
NAMED_ALARMS = 0.10  # on the twin's held-out harmless sentences
TWIN_MADE, TWIN_EPOCHS, EPOCHS, BATCH = 120_000, 3, 4, 256
EXAMINED = 4000


def choose_threshold(twin: RiskNet, limit: int | None = None) -> float:
    """The lowest threshold (to two places) at which the twin blocks at most a tenth of our held-out harmless sentences, and 5 %
    of the tweets that were called harmless, and surely under 1 % of business texts."""
    examined = [one.text for one in planted.examination(n=EXAMINED if limit is None else 200) if not one.kind]
    tweets = [
        row["text"] for row in datasets.read_csv("offensive_tweets", "val") if row["label"] == "neither"
    ][:limit]
    business = twin.score(measure.business_texts(limit))
    named, plain = twin.score(examined), twin.score(tweets)
    for hundredths in range(30, 100):
        at = hundredths / 100
        quiet = (plain >= at).mean() <= FALSE_ALARMS and (named >= at).mean() <= NAMED_ALARMS
        if quiet and measure.rate(business >= at)["high"] <= 0.01:
            return at
    return 0.99


def calibrate_chinese(model: RiskNet, threshold: float, limit: int | None = None) -> None:
    """Shift the log-odds of Chinese texts so that 5 % of COLD's harmless validation rows reach the threshold."""
    rows = datasets.load_offensive("zh", "val")
    texts = [text for text, y in zip(rows.texts, rows.labels, strict=True) if y == 0][:limit]
    model.shift_chinese = 0.0
    wanted = float(np.quantile(model.score(texts).astype(np.float64), 1 - FALSE_ALARMS))
    model.shift_chinese = float(np.float16(_logit(threshold) - _logit(wanted)))


def _logit(chance: float) -> float:
    chance = min(max(chance, 1e-6), 1 - 1e-6)
    return float(np.log(chance / (1 - chance)))


def figures(model: RiskNet, threshold: float, limit: int | None = None) -> dict[str, Any]:
    """All that is measured of one model at one threshold."""
    n = EXAMINED if limit is None else 200
    return {
        "en": measure.on_tweets(model, threshold, limit), "zh": measure.on_cold(model, threshold, limit),
        "business_texts_blocked": measure.on_business_texts(model, threshold, limit),
        "planted": measure.on_planted(model, threshold, planted.examination(n=2 * n, part="all", templates_only=True, groups=32)),
        "grammar": measure.on_planted(model, threshold, planted.examination(n=n, part="all")),
        "hatecheck": measure.on_hatecheck(model, threshold), "xstest": measure.on_xstest(model, threshold),
    }  # fmt: skip


def fitted(
    words: list[str], vectors: np.ndarray, part: planted.Part, n: int, epochs: int, limit: int | None
) -> RiskNet:
    """Fit on one part of our sentences and on the real rows."""
    from modelhub.ml.risk import fit, rows

    more = vocabulary.more_words(words, vectors)
    every = rows.all_rows(more, n=n, limit=limit, part=part)
    return fit.fit(
        every, words, vectors, epochs=epochs, batch=BATCH, told=lambda line: print(part, line, flush=True)
    )


def make_guard(
    out: Path,
    *,
    limit: int | None = None,
    model: RiskNet | None = None,
    twin: RiskNet | None = None,
    seconds: int = 0,
) -> dict[str, Any]:
    """Fit model and twin (unless given), measure both and write the artifact. Gives its manifest."""
    started = time.monotonic()
    if model is None or twin is None:
        words, vectors = _vocabulary(limit)
        twin = fitted(
            words, vectors, "fit", limit * 10 if limit else TWIN_MADE, 1 if limit else TWIN_EPOCHS, limit
        )
        model = fitted(
            words, vectors, "all", limit * 10 if limit else TWIN_MADE, 1 if limit else EPOCHS, limit
        )
    threshold = choose_threshold(twin, limit)
    out.mkdir(parents=True, exist_ok=True)
    calibrate_chinese(model, threshold, limit)
    model.save(out / "weights.npz")
    model = net.load(out / "weights.npz")
    found = figures(model, threshold, limit)
    found["held_out"] = _held_out(twin, threshold, limit)
    blocked = found["hatecheck"]["harmless_naming_a_group_blocked"]["value"]
    numbers = sum(int(np.asarray(getattr(model, name)).size) for name in net.TENSORS) + int(
        model.vectors.size
    )
    manifest = {
        "id": "risk-guard", "kind": "risk", "version": "2", "sparse": False, "precision": "int8 tables, fp16", "requires": {},
        "heads": {}, "kinds": list(net.KINDS), "thresholds": {"default": threshold},
        "may_enforce": bool(blocked <= measure.MAY_ENFORCE), "metrics": found,
        "parameters": {"total": numbers, "active": numbers},
        "train": {
            "command": "python -m modelhub.ml.risk.train", "seed": 0, "machine": f"{os.cpu_count()} CPU cores, shared",
            "seconds": seconds or round(time.monotonic() - started),
        },
        "created": date.today().isoformat(),
    }  # fmt: skip
    manifest = artifacts.write_manifest(out, manifest, {"weights": "weights.npz"})
    card.write(out, manifest)
    return manifest


def _held_out(twin: RiskNet, threshold: float, limit: int | None) -> dict[str, Any]:
    """The twin on frames and words that it never met, and on HateCheck."""
    told = measure.on_planted(twin, threshold, planted.examination(n=EXAMINED if limit is None else 200))
    check = measure.on_hatecheck(twin, threshold)
    return {name: told[name] for name in ("recall", "harmless_blocked", "same_sentence_differs")} | {
        "hatecheck_recall": check["recall"], "hatecheck_harmless_blocked": check["harmless_blocked"],
    }  # fmt: skip


def _vocabulary(limit: int | None) -> tuple[list[str], np.ndarray]:
    """Words with their vectors: from the trunk; a trial takes those of the shipped guard."""
    if limit is not None:
        shipped = net.load(artifacts.SHIPPED / "risk-guard" / "weights.npz")
        return shipped.words, shipped.vectors
    from modelhub.ml.trunk import ensure_trunk

    trunk = ensure_trunk(artifacts.home())
    words = vocabulary.listed(trunk)
    return words, vocabulary.vectors_of(words, trunk)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the guard and print what it reaches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--smoke", action="store_true", help="a few hundred rows: proves the pipeline")
    chosen = parser.parse_args(arguments)
    manifest = make_guard(chosen.out / "risk-guard", limit=100 if chosen.smoke else None)
    check = manifest["metrics"]["hatecheck"]
    print(
        "threshold",
        manifest["thresholds"]["default"],
        "recall",
        check["recall"],
        "harmless",
        check["harmless_blocked"],
    )
    print("may enforce:", manifest["may_enforce"])


if __name__ == "__main__":
    main()
