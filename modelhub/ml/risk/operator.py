"""The operator's rows: what its risk head is fitted on, what its threshold is set by, and what it is measured on.

Kinds are those of `operator_templates.KINDS`. Stereotypes and unequal treatment are learnt from our own sentences,
harm from tweets that people labelled and from our own sentences too. A row may leave a kind open (−1): a hateful
tweet says nothing of whether it also deals in stereotypes. Every row that names a group has a partner, the same
sentence about other groups, and the two must be judged alike: naming somebody is no harm.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.risk import identities, operator_templates, planted, templates
from modelhub.ml.risk.operator_templates import KINDS, make

OPEN = -1
# Who asks is no reason: without such rows "refused" beside a group looked like unequal treatment, and thresholds had to
# be so high that they missed half of it.
INTRODUCTIONS = (
    "I am a {one}. {text}",
    "As a {one} I have a question. {text}",
    "{text} By the way, I am a {one}.",
)
INTRODUCED = 0.3
OTHER_GROUPS = (
    ("elderly people", "elderly person"), ("Poles", "Pole"), ("Nigerians", "Nigerian"), ("Buddhists", "Buddhist"),
    ("atheists", "atheist"), ("Indians", "Indian"), ("wheelchair users", "wheelchair user"), ("widows", "widow"),
)  # fmt: skip
SHARES = {"sentences": 0.15, "frames": 0.3, "hateful": 0.1, "tweets": 0.15, "business": 0.3}
FRAMES, PER_PATTERN = 60_000, 256
FEW, BROKEN = (
    2000,
    3,
)  # a workload of fewer texts shows too little of harmless blame: broken copies of each join it


@dataclass(slots=True)
class RiskRows:
    """Texts, what is known of each kind (N, 3) of 0, 1 and −1, each text's partner, and the group it names."""

    texts: list[str] = field(default_factory=list)
    kinds: list[tuple[int, int, int]] = field(default_factory=list)
    partners: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def add(
        self, text: str, kinds: tuple[int, int, int], partner: str = "", group: str = "", source: str = "held"
    ) -> None:
        """One row; an empty partner stands for the text itself."""
        self.texts.append(text)
        self.kinds.append(kinds)
        self.partners.append(partner or text)
        self.groups.append(group)
        self.sources.append(source)

    def __len__(self) -> int:
        return len(self.texts)

    def labels(self) -> np.ndarray:
        """(N, 3) float32."""
        return np.array(self.kinds, np.float32).reshape(len(self), len(KINDS))

    def take(self, chosen: np.ndarray) -> RiskRows:
        """The rows at these positions."""
        held = (self.texts, self.kinds, self.partners, self.groups, self.sources)
        return RiskRows(*([values[i] for i in chosen] for values in held))

    def shares(self) -> np.ndarray:
        """How often each row is drawn: sources by SHARES, inside of each its parts, harmful and harmless alike.

        A source's parts (`business:terms-review`) weigh the same, however many rows each has. Gives (N,), sum one.
        """
        stacks = [(source, 1 in kinds) for source, kinds in zip(self.sources, self.kinds, strict=True)]
        rows, sides = Counter(stacks), Counter(source for source, _ in set(stacks))
        parts = Counter(source.partition(":")[0] for source in sides)
        weight = np.empty(len(self))
        for i, stack in enumerate(stacks):
            whole = stack[0].partition(":")[0]
            weight[i] = SHARES[whole] / (parts[whole] * sides[stack[0]] * rows[stack])
        return weight / weight.sum()


def training_rows(seed: int = 1, limit: int | None = None) -> RiskRows:
    """All that the risk head learns from; `limit` keeps about so many of each source, for a trial of the pipeline."""
    rng = np.random.default_rng(seed)
    rows = RiskRows()
    per_pattern = PER_PATTERN if limit is None else max(1, limit // 64)
    for made in make("train", per_pattern, seed):
        one = KINDS.index(made.kind) if made.kind else -1
        known = [OPEN if made.kind and kind != one else int(kind == one) for kind in range(len(KINDS))]
        rows.add(made.text, tuple(known), made.partner, made.group, "sentences")  # type: ignore[arg-type]
    for told in _told_otherwise(FRAMES if limit is None else limit, seed):
        one = KINDS.index(told.kind) if told.kind else -1
        known = [OPEN if told.kind and kind != one else int(kind == one) for kind in range(len(KINDS))]
        rows.add(told.text, tuple(known), _swapped(told.text, rng), told.group, "frames")  # type: ignore[arg-type]
    _add_hateful(rows, rng, limit)
    tweets = datasets.load_offensive("en", "train")
    for text, offensive in list(zip(tweets.texts, tweets.labels, strict=True))[:limit]:
        rows.add(text, (OPEN, OPEN, 1) if offensive else (0, 0, 0), _swapped(text, rng), source="tweets")
    for name in datasets.TEXT_WORKLOADS:
        for text in datasets.load(name, "train").texts[:limit]:
            rows.add(text, (0, 0, 0), _swapped(text, rng), source=f"business:{name}")
            if rng.random() < INTRODUCED:
                one, other = (
                    templates.GROUPS_EN[i][1] for i in rng.integers(len(templates.GROUPS_EN), size=2)
                )
                form = INTRODUCTIONS[int(rng.integers(len(INTRODUCTIONS)))]
                said = [form.format(one=group, text=text) for group in (one, other)]
                rows.add(said[0], (0, 0, 0), said[1], one, f"business:{name}")
    return rows


def _told_otherwise(n: int, seed: int) -> Iterator[planted.Planted]:
    """English sentences from the guard's frames and grammar, none with a filling that the planted set is held out by."""
    held = [
        *operator_templates.held(operator_templates.TRAITS),
        *(text for pair in operator_templates.held(operator_templates.DECISIONS) for text in pair),
        *operator_templates.held(operator_templates.REASONS),
    ]
    for one in planted.Maker(seed, part="fit").sentences(n, chinese_share=0.0):
        if not any(phrase in one.text for phrase in held):
            yield one


def _add_hateful(rows: RiskRows, rng: np.random.Generator, limit: int | None) -> None:
    """Our own hateful and harmless sentences for every group; the last quarter of each list is held out."""
    groups = (
        templates.GROUPS_EN + operator_templates.MORE_GROUPS
        if limit is None
        else templates.GROUPS_EN[: max(2, limit // 64)]
    )
    for sentences, kinds in ((templates.HARMLESS_EN, (0, 0, 0)), (templates.HATEFUL_EN, (OPEN, OPEN, 1))):
        for sentence in _three_quarters(sentences):
            for many, one in groups:
                partner = groups[int(rng.integers(len(groups)))]
                rows.add(_filled(sentence, many, one), kinds, _filled(sentence, *partner), many, "hateful")


def planted_rows(seed: int = 1, per_pattern: int = 32) -> RiskRows:
    """Sentences in the forms that training saw, of traits, decisions, reasons and groups that it didn't."""
    rows = RiskRows()
    _add_made(rows, "filled", seed, per_pattern)
    _add_judged(rows, _three_quarters, OTHER_GROUPS)
    return rows


def unseen_rows(seed: int = 1, per_pattern: int = 32) -> RiskRows:
    """Sentences in forms that training never saw: how far the operator understands and doesn't only recognise."""
    rows = RiskRows()
    _add_made(rows, "held", seed, per_pattern)
    _add_judged(rows, _last_quarter, templates.GROUPS_EN)
    return rows


def framed_rows(seed: int = 1, n: int = 3000) -> RiskRows:
    """English sentences of frames and words that the guard's examination holds back, each for eight groups."""
    rows = RiskRows()
    for one in planted.examination(seed + 6, n, "held"):
        if one.language == "en":
            kind = KINDS.index(one.kind) if one.kind else -1
            rows.add(one.text, tuple(int(place == kind) for place in range(3)), group=one.group)  # type: ignore[arg-type]
    return rows


def _add_made(rows: RiskRows, part: str, seed: int, per_pattern: int) -> None:
    for made in make(part, per_pattern, seed):
        one = KINDS.index(made.kind) if made.kind else -1
        rows.add(made.text, tuple(int(kind == one) for kind in range(3)), group=made.group)  # type: ignore[arg-type]


def _add_judged(
    rows: RiskRows, share: Callable[[tuple[str, ...]], tuple[str, ...]], groups: tuple[tuple[str, str], ...]
) -> None:
    for sentences, kinds in ((templates.HARMLESS_EN, (0, 0, 0)), (templates.HATEFUL_EN, (0, 0, 1))):
        for sentence in share(sentences):
            for many, one in groups:
                rows.add(_filled(sentence, many, one), kinds, group=many)


def benign_texts(seed: int = 1, workloads: tuple[str, ...] = datasets.TEXT_WORKLOADS) -> list[str]:
    """What nobody may be blocked for: the workloads' validation texts, and the same with a group named before them."""
    texts = [text for name in workloads for text in datasets.load(name, "val").texts]
    return texts + [f"As a {group}, I ask: {text}" for text, group in _with_groups(texts, seed)]


def _with_groups(texts: list[str], seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(texts))[: len(texts) // 4]
    return [(texts[i], templates.GROUPS_EN[n % len(templates.GROUPS_EN)][1]) for n, i in enumerate(chosen)]


def _three_quarters(sentences: tuple[str, ...]) -> tuple[str, ...]:
    return sentences[: len(sentences) * 3 // 4]


def _last_quarter(sentences: tuple[str, ...]) -> tuple[str, ...]:
    return sentences[len(sentences) * 3 // 4 :]


def _filled(sentence: str, many: str, one: str) -> str:
    text = sentence.format(many=many, one=one)
    return text[:1].upper() + text[1:]


def _swapped(text: str, rng: np.random.Generator) -> str:
    """The text about other groups, or an empty string where it names none."""
    swaps = identities.identity_swaps(text)
    return swaps[int(rng.integers(len(swaps)))] if swaps else ""
