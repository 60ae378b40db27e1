"""From the trunk to the guard: fit a teacher, ask its opinion of many sentences, fit the small net to rows and opinions.

Done twice, one after the other: first on the part `fit` of our turns of speech and words, which gives the twin that chooses the
threshold on what it never met; then further, teacher and net alike, on all of them, which gives the guard.
"""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from modelhub.ml.risk import fit, groups, planted, rows
from modelhub.ml.risk.encode import Lists, Texts, encode, pieces_of
from modelhub.ml.risk.fit import Network, Plan, Rows
from modelhub.ml.risk.grammar import Part
from modelhub.ml.risk.net import JUDGED, RiskNet
from modelhub.ml.risk.teacher import CLS, LONGEST, SEP, Pieces, Teacher, Trunk

Told = Callable[[str], None]
More = Mapping[str, Sequence[str]]
NEAR, COMMON = 6, 9_000
# shares of the time to fit: teacher, net
STAGES: tuple[tuple[Part, float, float], ...] = (("fit", 0.3, 0.2), ("all", 0.17, 0.33))
OPINIONS = 0.04  # of all the time


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many rows are made for each stage, and how they are fitted."""

    said: int = 360_000
    made: int = 200_000
    retold: int = 360_000
    real: int | None = None
    examined: int = 4000
    teacher: Plan = Plan(1.5, 512, 1e-4)
    net: Plan = Plan(6, 1024, 3e-3)


def near_words(words: list[str], vectors: np.ndarray, texts: Sequence[str]) -> dict[str, list[str]]:
    """For the texts' commonest words such as mean about the same, or the opposite: what they say is the teacher's to tell."""
    seen = Counter(word for text in texts for word in re.findall(r"[a-z]{3,}", text.lower()))
    row = {word: i for i, word in enumerate(words)}
    unit = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-9)
    common = [word for word, _ in seen.most_common(COMMON) if word in row and word not in groups.TERMS]
    found = {}
    for start in range(0, len(common), 500):
        some = common[start : start + 500]
        close = unit[[row[word] for word in some]] @ unit.T
        best = np.argpartition(-close, min(NEAR + 1, len(words) - 1), axis=1)[:, : NEAR + 1]
        for i, word in enumerate(some):
            others = [
                words[j]
                for j in best[i]
                if words[j] != word and words[j] not in groups.TERMS and close[i, j] > 0.45
            ]
            if others:
                found[word] = others
    return found


def _said(seed: int, n: int, part: Part, more: More) -> Rows:
    made = Rows()
    rows.said(made, n, seed, part, more)
    return made


def _made(seed: int, n: int, part: Part, more: More) -> Rows:
    made = Rows()
    rows.made(made, n, seed, dict(more), part)
    return made


def _retold(seed: int, texts: list[str], near: Mapping[str, Sequence[str]]) -> Rows:
    made = Rows()
    rows.unlabelled(made, texts, near, seed)
    return made


def _together(parts: Sequence[Rows]) -> Rows:
    whole = Rows()
    for part in parts:
        whole.texts += part.texts
        whole.says += part.says
        whole.weights += part.weights
    return whole


def gathered(
    part: Part, amounts: Amounts, more: More, near: More, seed: int, pool: Executor, workers: int
) -> tuple[Rows, Rows]:
    """Rows that say something, and rows that the teacher alone can tell of."""
    seeds = [seed * 1000 + i for i in range(workers)]
    said = list(pool.map(partial(_said, n=amounts.said // workers, part=part, more=more), seeds))
    made = list(pool.map(partial(_made, n=amounts.made // workers, part=part, more=more), seeds))
    real = Rows()
    rows.real(real, amounts.real, seed)
    spoken = _together([*said, *made, real])
    draw = random.Random(seed)
    english = [text for text in spoken.texts if text.isascii()]
    texts = [draw.choice(real.texts if draw.random() < 0.3 else english) for _ in range(amounts.retold)]
    parts = [texts[i::workers] for i in range(workers)]
    return spoken, _together(list(pool.map(partial(_retold, near=near), seeds, parts)))


class Reader:
    """The teacher with its texts on a device."""

    def __init__(self, trunk: Trunk, device: str) -> None:
        self.cut, self.device = Pieces(trunk.pieces), device
        self.before, self.after = (trunk.pieces.index(mark) for mark in (CLS, SEP))
        self.model = Teacher(trunk).to(device)

    def pieces(self, texts: Texts, pool: Executor | None = None) -> Lists:
        return pieces_of(texts, self.cut.of, self.before, self.after, LONGEST, pool).to(self.device)

    def logits(self, pieces: Lists, chosen: Tensor) -> Tensor:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu"):
            return self.model(*pieces.padded(chosen.to(self.device), LONGEST)).float()

    def fit(
        self, pieces: Lists, says: Tensor, weights: Tensor, chinese: Tensor, plan: Plan, told: Told
    ) -> None:
        """On the English rows that say something."""
        speaking = torch.nonzero((says >= 0).any(1).cpu() & ~chinese).flatten()
        sizes = pieces.sizes(torch.arange(len(chinese), device=self.device)).cpu()

        def step(chosen: Tensor) -> Tensor:
            picked = speaking[chosen]
            on = picked.to(self.device)
            return fit.loss_of(self.logits(pieces, picked), says[on], weights[on])

        head = list(self.model.head.parameters())
        body = [p for name, p in self.model.named_parameters() if not name.startswith("head")]
        found = [
            {"params": body, "lr": plan.peak, "weight_decay": 0.01},
            {"params": head, "lr": 5 * plan.peak, "weight_decay": 0.01},
        ]
        fit.run(self.model, plan, sizes[speaking], step, found, told)

    def opinion(self, pieces: Lists, chinese: Tensor) -> Tensor:
        """(N, 4) probabilities; NaN of Chinese rows."""
        sizes = pieces.sizes(torch.arange(len(chinese), device=self.device)).cpu()
        found = fit.scored(partial(self.logits, pieces), sizes)
        found[chinese] = float("nan")
        return found


def make(
    words: list[str], vectors: np.ndarray, trunk: Trunk, more: More, *, pool: Executor, workers: int, device: str = "cpu",
    seconds: float = float("inf"), amounts: Amounts | None = None, seed: int = 0, told: Told = print,
) -> tuple[RiskNet, RiskNet, Teacher]:  # fmt: skip
    """(guard, twin, teacher). `seconds`: for all the fitting, after which both are finished as they are."""
    torch.manual_seed(seed)
    amounts, started = amounts or Amounts(), time.monotonic()
    row = {word: i for i, word in enumerate(words)}
    reader, net = Reader(trunk, device), Network(vectors).to(device)
    sample = _said(seed, 20_000, "fit", more)
    real = Rows()
    rows.real(real, amounts.real, seed)
    near = near_words(words, vectors, sample.texts + [text for text in real.texts if text.isascii()])
    made: list[RiskNet] = []
    to_fit = seconds
    for number, (part, for_teacher, for_net) in enumerate(STAGES):
        spoken, retold = gathered(part, amounts, more, near, seed + 1 + number, pool, workers)
        texts = encode(spoken.texts + retold.texts, row, pool)
        chinese, pieces = texts.chinese, reader.pieces(texts, pool)
        texts = texts.to(device)
        says = torch.tensor(spoken.says + retold.says).to(device)
        weights = torch.tensor(spoken.weights + retold.weights).to(device)
        if not number:  # what the rows took they will take again
            to_fit = seconds * (1 - 2 * OPINIONS) - 2.1 * (time.monotonic() - started)
        told(f"{part}: {len(texts)} rows at {time.monotonic() - started:.0f} s")
        plan = amounts.teacher
        reader.fit(
            pieces,
            says,
            weights,
            chinese,
            Plan(plan.epochs, plan.batch, plan.peak, for_teacher * to_fit, seed),
            told,
        )
        opinion = reader.opinion(pieces, chinese).to(device)
        told(f"{part}: opinions at {time.monotonic() - started:.0f} s")
        plan = amounts.net
        fit.fit_student(
            net,
            texts,
            says,
            weights,
            opinion,
            Plan(plan.epochs, plan.batch, plan.peak, for_net * to_fit, seed),
            told,
        )
        made.append(fit.served(net, words, vectors))
        _tell(made[-1], reader, row, f"{part} at {time.monotonic() - started:.0f} s", amounts.examined, told)
        del texts, pieces, says, weights, opinion
    return made[1], made[0], reader.model


def _tell(net: RiskNet, reader: Reader, row: dict[str, int], part: str, n: int, told: Told) -> None:
    """Recall where a tenth of our held sentences' harmless ones is blocked: of the net and of its teacher."""
    examined = [(one.harms, text, one.family) for one, text in rows.spoken(n, random.Random(77), "held", {})]
    examined += [
        (bool(one.kind), one.text, "planted") for one in planted.examination(n=n) if one.language == "en"
    ]
    bad, names = np.array([harms for harms, _, _ in examined]), [name for _, _, name in examined]
    texts = encode([text for _, text, _ in examined], row)
    theirs = reader.opinion(reader.pieces(texts), texts.chinese).numpy()[:, :JUDGED].max(1)
    ours = net.score([text for _, text, _ in examined])
    agreed = (np.sign(theirs - 0.5) == np.sign(ours - 0.5)).mean()
    told(f"{part}: net and teacher agree on {agreed:.3f}")
    for name, score in (("teacher", theirs), ("net", ours)):
        at = np.quantile(score[~bad], 0.9)
        told(f"{part} {name}: {(score[bad] >= at).mean():.3f} found at {at:.3f}")
        for family, n in sorted(Counter(names).items()):
            if n >= 40:
                told(f"    {family}: {(score[[own == family for own in names]] >= at).mean():.2f} blocked")
