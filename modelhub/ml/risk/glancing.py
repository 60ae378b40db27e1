"""Fitting the glance of a finished guard, its net and screen left as they are (`python -m modelhub.ml.risk.train --glance`).

It is taught what the net says of the texts that the screen was weighed by, of the same misspelt, and of harmful sentences beside
ordinary ones, as far as they come to it. How far below the lowest threshold a text must seem to be is chosen on texts that the
fit never saw: of those that the net blocks none that somebody or our grammars wrote may pass, and next to none of the garbled.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from modelhub.ml.risk import plain, reading, screening, speech
from modelhub.ml.risk.encode import Lists
from modelhub.ml.risk.glance import LONGEST, TENSORS, Glance
from modelhub.ml.risk.net import JUDGED, RiskNet
from modelhub.ml.risk.screening import GARBLED, ORDINARY, WRITTEN

CHANNELS, HIDDEN = 40, 24
EPOCHS, BATCH, RATE = 16, 1024, 4e-3
LOWEST, HIGHEST = -6.0, 1.5  # log-odds: what lies beyond need not be told apart
CALM = -2.0  # at most this is taught of ordinary texts, where the net's blocking is a false alarm
HEARD, MISSED_WEIGHS = -2.5, 8.0  # from these log-odds on an error downward weighs so much more
WEIGHTS = {ORDINARY: 2.0, GARBLED: 0.7}
DROPPED = 0.05  # of the keys, while it learns
MOST_MISSED = 1e-4  # of what people and our grammars wrote and the net blocks, those that pass
MOST_GARBLED = 3e-3  # of the garbled ones, many of which name nobody
JOINED, SHORT, LONG = 1.0, 40, 200  # sentences put beside an ordinary one, a share of our own; its characters
TRIED = 20  # texts of a trial, times its limit
Told = list[tuple[str, int]]
Scores = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Rows:
    """What comes to the glance. Shapes: score (N,) of the net, kind (N,) of screening's; keys of each."""

    keys: list[list[str]]
    score: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True, slots=True)
class Found:
    """The glance, and of the held-out texts that the net blocks those that it alone let pass: (missed, of all)."""

    glance: Glance
    written: tuple[int, int]
    garbled: tuple[int, int]


def otherwise_told(told: Told, seed: int) -> Told:
    """The same texts as people spell past a filter, and beside an ordinary sentence."""
    draw = random.Random(seed)
    ordinary = [text for text, kind in told if kind == ORDINARY and SHORT < len(text) < LONG]
    others = [text for text, kind in told if kind != ORDINARY]
    made = [(speech.respelt(text, draw), GARBLED) for text, kind in told if kind == WRITTEN]
    for text in draw.sample(others, min(len(others), round(JOINED * len(made)))):
        pair = [text, draw.choice(ordinary)]
        draw.shuffle(pair)
        made.append((" ".join(pair), GARBLED))
    return made


def coming(net: RiskNet, told: Told, score: Scores, always: frozenset[str]) -> Rows:
    """Those that neither the screen nor a word of `always` decides, with the net's scores."""
    asked = Glance(_started(net).tensors(), always, net.known_words(), net.vector)
    passes = net.screen.passes if net.screen is not None else lambda text: False
    left = [(text, kind, reading.keys(text)) for text, kind in told if not passes(text)]
    left = [(text, kind, keys) for text, kind, keys in left if keys and asked.may(keys)]
    scores = score([text for text, _, _ in left])
    return Rows([keys for _, _, keys in left], scores, np.array([kind for _, kind, _ in left]))


class _Network(nn.Module):
    """The torch form of Glance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.taps = nn.Parameter(torch.randn(width, 3 * CHANNELS) * 0.04)
        self.bias = nn.Parameter(torch.full((CHANNELS,), -0.1))
        self.hidden = nn.Linear(2 * CHANNELS, HIDDEN)
        self.out = nn.Linear(HIDDEN, 1)

    def forward(self, vectors: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """(B,) log-odds. Shapes: vectors (K, D) of the keys, keys and mask (B, T)."""
        unique, inverse = torch.unique(keys, return_inverse=True)
        parts = (vectors[unique] @ self.taps)[inverse] * mask.unsqueeze(2)
        if self.training:
            parts = parts * (torch.rand(*mask.shape, 1) >= DROPPED)
        after, here, before = parts.split(CHANNELS, dim=2)
        seen = here + self.bias
        seen = (
            seen
            + nn.functional.pad(after[:, :-1], (0, 0, 1, 0))
            + nn.functional.pad(before[:, 1:], (0, 0, 0, 1))
        )
        seen = torch.relu(seen) * mask.unsqueeze(2)
        told = torch.cat([seen.amax(dim=1), seen.sum(dim=1) / mask.sum(dim=1, keepdim=True)], dim=1)
        return self.out(torch.relu(self.hidden(told)))[:, 0]

    def tensors(self) -> dict[str, np.ndarray]:
        """In the layout of Glance."""
        value = [
            self.taps, self.bias, self.hidden.weight.T, self.hidden.bias, self.out.weight[0], self.out.bias[0],
        ]  # fmt: skip
        return dict(zip(TENSORS, (tensor.detach().numpy().copy() for tensor in value), strict=True))


def _started(net: RiskNet) -> _Network:
    return _Network(net.vectors.shape[1])


def _wanted(rows: Rows) -> np.ndarray:
    """(N,) log-odds that are taught."""
    chance = np.clip(rows.score, 1e-6, 1 - 1e-6)
    odds = np.clip(np.log(chance / (1 - chance)), LOWEST, HIGHEST)
    return np.where(rows.kind == ORDINARY, np.minimum(odds, CALM), odds).astype(np.float32)


def _fitted(net: RiskNet, rows: Rows, epochs: int, seed: int, told: Callable[[str], None]) -> _Network:
    torch.manual_seed(seed)
    number: dict[str, int] = {}
    lists = Lists.of([[number.setdefault(key, len(number)) for key in keys] for keys in rows.keys])
    vectors = torch.from_numpy(np.stack([net.vector(key) for key in number]))
    wanted = torch.from_numpy(_wanted(rows))
    weight = torch.tensor([WEIGHTS.get(int(kind), 1.0) for kind in rows.kind])
    model, draw = _started(net), np.random.default_rng(seed)
    steps = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-4)
    sizes = np.array([len(keys) for keys in rows.keys])
    done, total = 0, epochs * -(-len(sizes) // BATCH)
    for epoch in range(epochs):
        losses = []
        for chosen in _batches(sizes, draw):
            for group in steps.param_groups:
                group["lr"] = RATE * min(done / total / 0.1 + 0.01, (1 - done / total) / 0.9)
            said = model(vectors, *lists.padded(torch.from_numpy(chosen), LONGEST))
            want = wanted[chosen]
            lower = (said < want) & (want > HEARD)
            each = nn.functional.huber_loss(said, want, reduction="none")
            loss = (each * torch.where(lower, MISSED_WEIGHS, 1.0) * weight[chosen]).mean()
            steps.zero_grad()
            loss.backward()
            steps.step()
            done += 1
            losses.append(loss.item())
        told(f"epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.4f}")
    return model.eval()


def _batches(sizes: np.ndarray, draw: np.random.Generator) -> list[np.ndarray]:
    """Texts of like length together, in random order."""
    order = draw.permutation(len(sizes))
    found = []
    for start in range(0, len(order), 20 * BATCH):
        pool = order[start : start + 20 * BATCH]
        pool = pool[np.argsort(sizes[pool], kind="stable")]
        found += [pool[at : at + BATCH] for at in range(0, len(pool), BATCH)]
    draw.shuffle(found)
    return found


def found(
    net: RiskNet, fit: Rows, held: Rows, blocked: tuple[int, int], threshold: float, always: frozenset[str],
    *, epochs: int = EPOCHS, seed: int = 0, told: Callable[[str], None] = print,
) -> Found:  # fmt: skip
    """The glance of a net. `threshold`: from which on it blocks; `blocked`: of all held texts those it does, of what somebody
    wrote and of the garbled."""
    tensors = _fitted(net, fit, epochs, seed, told).tensors()
    given = (always, net.known_words(), net.vector)
    stored = Glance(tensors, *given).stored()
    tensors["taps"] = stored["glance_taps"] * stored["glance_taps_scale"]
    lean = Glance(tensors, *given).lean(held.keys)
    risky = (held.score >= threshold) & (held.kind != ORDINARY)
    parts = [risky & (held.kind != GARBLED), risky & (held.kind == GARBLED)]
    most = [int(share * n) for share, n in zip((MOST_MISSED, MOST_GARBLED), blocked, strict=True)]
    bound = min(
        (float(np.sort(lean[part])[n]) for part, n in zip(parts, most, strict=True) if part.sum() > n),
        default=HIGHEST,
    )
    # A little lower than the first that must not pass, so that rounding to 16 bits doesn't decide.
    tensors["bias_out"] = np.asarray(tensors["bias_out"] - bound + 0.02, np.float32)
    glance = Glance(tensors, *given)
    passed = glance.lean(held.keys) < 0
    missed = [int((part & passed).sum()) for part in parts]
    for kind, name in ((ORDINARY, "ordinary"), (screening.TWEET, "tweets"), (WRITTEN, "own")):
        told(f"of {(held.kind == kind).sum()} {name} that come to it {passed[held.kind == kind].sum()} pass")
    told(f"bound {bound:.2f}; of held texts that the net blocks pass {missed} of {blocked}")
    return Found(glance, (missed[0], blocked[0]), (missed[1], blocked[1]))


def glanced(
    net: RiskNet, threshold: float, limit: int | None = None, seed: int = 5, told: Callable[[str], None] = print
) -> Found:  # fmt: skip
    """The glance of a net and its screen; `threshold`: the lowest that anybody may set. `limit`: a trial."""
    always = plain.never()

    def score(texts: list[str]) -> np.ndarray:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = np.empty(len(texts), np.float32)
        found[order] = net.kinds([texts[i] for i in order])[:, :JUDGED].max(axis=1, initial=0.0)
        return found

    vocabulary = screening.Vocabulary(net.words, net.vectors)
    fit, held = screening.to_fit(vocabulary, limit, seed)[0], screening.to_hold(vocabulary, limit, seed)
    fit, held = fit + otherwise_told(fit, seed), held + otherwise_told(held, seed + 1)
    if limit is not None:
        fit, held = (random.Random(seed).sample(some, min(len(some), TRIED * limit)) for some in (fit, held))
    every = score([text for text, _ in held])
    kind = np.array([kind for _, kind in held])
    risky = (every >= threshold) & (kind != ORDINARY)
    blocked = (int((risky & (kind != GARBLED)).sum()), int((risky & (kind == GARBLED)).sum()))
    rows = [coming(net, some, score, always) for some in (fit, held)]
    return found(net, rows[0], rows[1], blocked, threshold, always, epochs=1 if limit else EPOCHS, told=told)
