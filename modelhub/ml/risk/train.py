"""`python -m modelhub.ml.risk.train`: fit `risk-guard`, and say what it does and what it doesn't.

Real rows come from COLD (Chinese) and the crowd-labelled tweets (English); harmless rows besides are business texts; the rest
are sentences of our own in which every group is named alike. The pretrained trunk is fitted to them first and teaches the small
net (`distil`; a GPU for four minutes, or a CPU for days: `--fit-to` there, `--fitted` here). A twin that never meets a part of
our turns of speech and a sixth of our words chooses the threshold and says how the model does on what it hasn't met. HateCheck
and XSTest are only measured on.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.risk import (
    card,
    distil,
    fit,
    glancing,
    measure,
    net,
    plain,
    planted,
    rows,
    screening,
    teacher,
    vocabulary,
)
from modelhub.ml.risk.net import RiskNet
from modelhub.ml.risk.screen import Screen

FALSE_ALARMS = 0.05  # on validation rows of either language
# On the twin's held-out harmless sentences, each family weighing alike. At a tenth here the guard blocked 11.6 % of those
# harmless sentences of HateCheck that name a group, at 6 % one in ten: too near the limit of an enforcing guard.
NAMED_ALARMS = 0.05
LEAST_OF_FAMILY = 30
EXAMINED, BATCH = 4000, 256
LOWEST_THRESHOLD = 0.3  # that a line of business may set
GUARD, TWIN = "guard.npz", "twin.npz"
NO_DEVICE = (
    "left as it is: its teacher is fitted on a GPU in minutes, on a processor in days. `--device cuda` or `--device cpu` fits it "
    "here; `--fit-to FOLDER` on another machine, then `--fitted FOLDER` here."
)


def held_out(n: int) -> list[planted.Planted]:
    """Sentences of both grammars with turns of speech and words that the twin never met."""
    draw = random.Random(77)
    said = [
        planted.Planted(text, "harm" if one.harms else "", "", "en", one.family, -1 - i)
        for i, (one, text) in enumerate(rows.spoken(n, draw, "held", {}))
    ]
    return said + planted.examination(n=n)


def choose_threshold(twin: RiskNet, limit: int | None = None) -> float:
    """The lowest threshold (to two places) at which the twin blocks at most NAMED_ALARMS of our held-out harmless sentences, each
    of their families weighing alike (which of them somebody will meet nobody knows), and 5 % of the tweets that were called
    harmless, and surely under 1 % of business texts."""
    examined = [one for one in held_out(EXAMINED if limit is None else 200) if not one.kind]
    family = np.array(
        [
            one.frame if one.pair < 0 else one.frame.partition(":")[0] if "grammar" in one.frame else "frames"
            for one in examined
        ]
    )
    tweets = [
        row["text"] for row in datasets.read_csv("offensive_tweets", "val") if row["label"] == "neither"
    ][:limit]
    business = twin.score(measure.business_texts(limit))
    named, plain_tweets = twin.score([one.text for one in examined]), twin.score(tweets)
    known = [name for name in np.unique(family) if (family == name).sum() >= LEAST_OF_FAMILY or limit]
    for hundredths in range(30, 100):
        at = hundredths / 100
        alarms = np.mean([(named[family == name] >= at).mean() for name in known])
        quiet = (plain_tweets >= at).mean() <= FALSE_ALARMS and alarms <= NAMED_ALARMS
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


def screened(model: RiskNet, threshold: float, limit: int | None = None) -> plain.Found:
    """What words weigh to the screen before this net, at the lowest threshold that anybody may set."""
    risky = min(threshold, LOWEST_THRESHOLD)

    def blocked(texts: list[str]) -> np.ndarray:
        return model.kinds(texts)[:, : net.JUDGED].max(1) >= risky

    return screening.screened(screening.Vocabulary(model.words, model.vectors), blocked, limit)


def glanced(model: RiskNet, threshold: float, limit: int | None = None) -> dict[str, Any]:
    """Give a net with a screen its glance; says what that lets pass."""
    found = glancing.glanced(model, min(threshold, LOWEST_THRESHOLD), limit)
    model.glance = found.glance
    return measure.let_pass(found.written, found.garbled)


def glance_anew(folder: Path, limit: int | None = None) -> dict[str, Any]:
    """Fit the glance of a finished guard, whose net, screen and threshold stay; measure and write all anew but for what a twin
    tells. Gives the manifest."""
    manifest = artifacts.load_manifest(folder)
    model, threshold = net.load(folder / "weights.npz"), manifest["thresholds"]["default"]
    told = glanced(model, threshold, limit)
    model.save(folder / "weights.npz")
    model = net.load(folder / "weights.npz")
    kept = {name: manifest["metrics"][name] for name in ("held_out", "screen") if name in manifest["metrics"]}
    manifest["metrics"] = figures(model, threshold, limit) | kept | {"glance": told}
    manifest = artifacts.rewrite_manifest(folder, manifest)
    card.write(folder, manifest)
    return manifest


def fit_both(out: Path, *, device: str, seconds: float) -> None:
    """Fit guard and twin with a teacher and write them to a folder, for `--fitted`."""
    from modelhub.ml.trunk import ensure_trunk

    trunk = ensure_trunk(artifacts.home())
    words = vocabulary.listed(trunk)
    vectors = vocabulary.vectors_of(words, trunk)
    workers = os.cpu_count() or 1
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(abs, range(workers)))
        guard, twin, _ = distil.make(
            words, vectors, teacher.load_trunk(trunk), vocabulary.more_words(words, vectors), pool=pool, workers=workers,
            device=device, seconds=seconds,
        )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    guard.save(out / GUARD)
    twin.save(out / TWIN)


def trial(limit: int) -> tuple[RiskNet, RiskNet]:
    """A guard and a twin of few rows, without a teacher: proves the pipeline."""
    shipped = net.load(artifacts.SHIPPED / "risk-guard" / "weights.npz")
    found = []
    for part in ("all", "fit"):
        every = rows.all_rows({}, n=limit * 10, limit=limit, part=part)
        found.append(fit.fit(every, shipped.words, shipped.vectors, epochs=1, batch=BATCH))
    return found[0], found[1]


def make_guard(
    out: Path,
    *,
    limit: int | None = None,
    model: RiskNet | None = None,
    twin: RiskNet | None = None,
    seconds: int = 0,
    machine: str = "",
) -> dict[str, Any]:
    """Choose the threshold, find the screen's words, measure and write the artifact. Gives its manifest. `limit`: a trial."""
    started = time.monotonic()
    if model is None or twin is None:
        model, twin = trial(limit or 100)
    threshold = choose_threshold(twin, limit)
    out.mkdir(parents=True, exist_ok=True)
    calibrate_chinese(model, threshold, limit)
    screen = screened(model, threshold, limit)
    model.screen = Screen(screen.weights)
    glance = glanced(model, threshold, limit)
    model.save(out / "weights.npz")
    model = net.load(out / "weights.npz")
    found = figures(model, threshold, limit)
    found["held_out"] = _held_out(twin, threshold, limit)
    found |= {
        "screen": measure.let_pass(screen.written, screen.garbled) | {"words": len(screen.weights)},
        "glance": glance,
    }
    blocked = found["hatecheck"]["harmless_naming_a_group_blocked"]["value"]
    numbers = sum(int(value.size) for value in (*model.tensors.values(), model.vectors))
    manifest = {
        "id": "risk-guard", "kind": "risk", "version": "3", "sparse": False, "precision": "int8 tables, fp16", "requires": {},
        "heads": {}, "kinds": list(net.KINDS), "thresholds": {"default": threshold},
        "may_enforce": bool(blocked <= measure.MAY_ENFORCE), "metrics": found,
        "parameters": {"total": numbers, "active": numbers},
        "train": {
            "command": "python -m modelhub.ml.risk.train", "seed": 0, "machine": machine or f"{os.cpu_count()} CPU cores, shared",
            "seconds": seconds or round(time.monotonic() - started),
        },
        "created": date.today().isoformat(),
    }  # fmt: skip
    manifest = artifacts.write_manifest(out, manifest, {"weights": "weights.npz"})
    card.write(out, manifest)
    return manifest


def _held_out(twin: RiskNet, threshold: float, limit: int | None) -> dict[str, Any]:
    """The twin on frames and words that it never met, and on HateCheck."""
    told = measure.on_planted(twin, threshold, held_out(EXAMINED if limit is None else 200))
    check = measure.on_hatecheck(twin, threshold)
    return {name: told[name] for name in ("recall", "harmless_blocked", "same_sentence_differs")} | {
        "hatecheck_recall": check["recall"], "hatecheck_harmless_blocked": check["harmless_blocked"],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the guard and print what it reaches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=artifacts.SHIPPED)
    parser.add_argument("--smoke", action="store_true", help="a few hundred rows: proves the pipeline")
    parser.add_argument("--fit-to", type=Path, help="fit guard and twin, write them to this folder and stop")
    parser.add_argument("--fitted", type=Path, help="the folder that --fit-to wrote")
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), help="cuda: minutes; cpu: days; unsaid: cuda if there is one"
    )
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="of fitting; finished as it is when they are over"
    )
    parser.add_argument("--glance", action="store_true", help="only fit the finished guard's glance anew")
    parser.add_argument("--machine", default="", help="what it was fitted on, for the manifest")
    chosen = parser.parse_args(arguments)
    if chosen.glance:
        print("glance:", glance_anew(chosen.out / "risk-guard")["metrics"]["glance"])
        return
    device = chosen.device or ("cuda" if torch.cuda.is_available() else "")
    if not device and chosen.fitted is None and not chosen.smoke:
        print(NO_DEVICE)
        return
    if chosen.fit_to is not None:
        fit_both(chosen.fit_to, device=device, seconds=chosen.seconds)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.fitted or Path(scratch)
        if chosen.fitted is None and not chosen.smoke:
            fit_both(folder, device=device, seconds=chosen.seconds)
        given = {} if chosen.smoke else {"model": net.load(folder / GUARD), "twin": net.load(folder / TWIN)}
    taken = 0 if chosen.seconds == float("inf") else round(chosen.seconds)
    manifest = make_guard(
        chosen.out / "risk-guard",
        limit=100 if chosen.smoke else None,
        seconds=taken,
        machine=chosen.machine,
        **given,
    )
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
