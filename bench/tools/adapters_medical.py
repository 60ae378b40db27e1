"""Disease names in medical sentences (NCBI, public domain): a plugin expert on the shared trunk against a model of its own.

Compared is processor time to the same F1 of whole names on the same validation sentences, the highest that both reached.
- expert: a plugin expert in the topmost block, on states of the frozen trunk that one run of its graph gives; that run counts.
- a model of its own: the same encoder begun where every trunk begins (pretrained weights dealt to experts), all weights
  trained on the same sentences; beside it, as a control, one begun from the shared trunk itself.
Either reads a word's tag from its first piece, and those of the words beside it: the state in the middle of the encoder and the
last one, for the last states of a trunk that was taught to tell whole texts apart know little of single words.
`python -m bench.tools.adapters_medical` runs it alone.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common import FULL, Results
from bench.tools.adapters_common import data, files, first_reaching, one_core, scaled, seeds, share
from modelhub.ml import features, tokens, trunk
from modelhub.ml.adapters.inject import Adapter, AdapterShape
from modelhub.ml.adapters.seen import TopExpert, see_once
from modelhub.ml.adapters.states import States
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.text.packing import Batch, TokenRows
from modelhub.ml.text.pretrained import WORDS, Pretrained
from modelhub.ml.text.torch_form import open_encoder, read_encoder
from modelhub.ml.text.upcycle import start_from

TAGS = ("O", "B-Disease", "I-Disease")
MOST_SHARE, BATCH, LOOKS, HIDDEN = 40.0, 16, 4, 128
EPOCHS = 8  # of the expert: one costs about a hundredth of its own model's
RATES = {"expert": 2e-3, "trunk": 3e-4, "head": 2e-3}


def rows(results: Results) -> None:
    """medical_expert_cost_share, with seconds and F1 beside."""
    try:
        data()
    except FileNotFoundError as error:
        results.not_run("medical_expert_cost_share", "%", str(error))
        return
    one_core()
    shares, scores, ours_s, theirs_s, warm = [], [], [], [], []
    for seed in seeds():
        task = Task(seed)
        ours, own = task.expert(EPOCHS), task.own_model(5 if FULL else 3, shared=False)
        found, target = share(ours, own)
        shares.append(100 * found)
        scores.append(100 * target)
        ours_s.append(first_reaching(ours, target) or 0.0)
        theirs_s.append(first_reaching(own, target) or 0.0)
        print(f"  seed {seed}: expert {ours[-1]}, own {own[-1]}", flush=True)
        if seed == seeds()[0]:
            warm.append(100 * share(ours, task.own_model(4 if FULL else 2, shared=True))[0])
    how = (
        f"processor seconds of a plugin expert on the frozen trunk over those of a model of its own, to the same F1 of disease "
        f"names; {task.counts[0]} sentences to learn from, {task.counts[1]} to judge by; median and range over seeds"
    )
    results.add("medical_expert_cost_share", shares, "%", how, at_most=MOST_SHARE)
    results.add(
        "medical_f1_compared", scores, "%", "the F1 compared: whole names, exactly found", control=True
    )
    results.add(
        "medical_expert_cpu_s", ours_s, "s", "processor seconds of the plugin expert to that F1", control=True
    )
    results.add(
        "medical_own_model_cpu_s", theirs_s, "s", "processor seconds of the model of its own", control=True
    )
    results.add("medical_share_of_warm_start", warm, "%",
                "the same against a whole copy begun from the shared trunk, one seed", control=True)  # fmt: skip


class Sentences:
    """Word pieces of sentences, the first piece of each word, and the words' tags. Built once a split."""

    def __init__(self, path: Path, tokenizer: Any, most: int, seed: int) -> None:
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            held = [json.loads(line) for line in stream]
        order = np.random.default_rng(seed).permutation(len(held))[:most]
        self.ids: list[np.ndarray] = []
        self.firsts: list[np.ndarray] = []
        self.tags: list[np.ndarray] = []
        for index in order:
            words = tokenizer.library.encode(held[index]["tokens"], is_pretokenized=True)
            places, seen = [], set()
            for place, word in enumerate(words.word_ids[: trunk.MAX_TOKENS]):
                if word is not None and word not in seen:
                    seen.add(word)
                    places.append((place, word))
            self.ids.append(np.array(words.ids[: trunk.MAX_TOKENS], np.int64))
            self.firsts.append(np.array([place for place, _ in places], np.int64))
            self.tags.append(np.array([_tag(held[index]["tags"][word]) for _, word in places], np.int64))

    def __len__(self) -> int:
        return len(self.ids)


def _tag(told: str) -> int:
    return 0 if told == "O" else (1 if told.startswith("B") else 2)


class Task:
    """One seed's sentences, and the ways to learn them."""

    def __init__(self, seed: int) -> None:
        self.seed, (self.body, self.trunk_dir) = seed, files()
        tokenizer = tokens.load_tokenizer(self.trunk_dir / "tokenizer.json")
        source = data() / "healthcare"
        self.train = Sentences(source / "ncbi_disease_train.jsonl.gz", tokenizer, scaled(1500, 5000), seed)
        self.val = Sentences(source / "ncbi_disease_val.jsonl.gz", tokenizer, scaled(250, 900), 0)
        self.counts = (len(self.train), len(self.val))

    def expert(self, epochs: int) -> list[dict[str, float]]:
        """An epoch is the expert's own two products and the tags': the trunk is run once."""
        encoder = open_encoder(self.body)
        middle, embed = encoder.config.layers // 2, self.trunk_dir / "embed.onnx"
        began = time.process_time()
        seen = see_once(self.body, embed, self.train.ids, middle)
        spent = time.process_time() - began
        held = see_once(self.body, embed, self.val.ids, middle)
        adapter = Adapter(AdapterShape("expert", 1, hidden=HIDDEN), encoder.config.width, self.seed)
        top = TopExpert(encoder, adapter)

        def read(part: Sentences, which: np.ndarray) -> Tensor:
            own = seen if part is self.train else held
            rows = np.concatenate([own.top.start[i] + part.firsts[i] for i in which])
            kept = np.stack([own.entering.table[rows], own.top.attended[rows], own.top.summed[rows]])
            x = torch.from_numpy(kept.astype(np.float32))
            return torch.cat([x[0], top.tokens(x[1:, None], x[:0])[0]], dim=-1)

        return self._learn(read, [(list(adapter.parameters()), RATES["expert"])], epochs, spent)

    def own_model(self, epochs: int, *, shared: bool) -> list[dict[str, float]]:
        """All weights of an encoder; every epoch runs all of it."""
        state, config = read_encoder(self.body)
        torch.manual_seed(self.seed)
        model = SparseEncoder(replace(config, start="pretrained"), {})
        if shared:
            model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
        else:
            weights = load_file(str(trunk.find_weights() / "model.safetensors"))
            vocabulary = np.unique(np.concatenate(self.train.ids))
            weights[WORDS] = weights[WORDS][torch.from_numpy(vocabulary)]
            flat = np.searchsorted(vocabulary, np.concatenate(self.train.ids)).astype(np.int32)
            start = np.concatenate([[0], np.cumsum([len(row) for row in self.train.ids])]).astype(np.int64)
            zeros = np.zeros(len(self.train), np.int64)
            start_from(
                model,
                Pretrained(weights, vocabulary),
                TokenRows(flat, start, zeros, zeros, {"x": ["y"]}),
                seed=self.seed,
            )
        model.train()
        began = time.process_time()
        embedded = self._embedded(self.train)
        spent = time.process_time() - began
        held = self._embedded(self.val)

        def read(part: Sentences, which: np.ndarray) -> Tensor:
            x, batch = (embedded if part is self.train else held).batch(which)
            keep = batch.segment[:, None, :, None] == batch.segment[:, None, None, :]
            middle = x
            for place, block in enumerate(model.blocks):
                middle = x if place == len(model.blocks) // 2 else middle
                x, _ = block(x, keep)
            return torch.cat([middle, x], dim=-1).flatten(0, 1)[_places(batch, part, which)]

        groups = [([p for p in model.parameters() if p.numel()], RATES["trunk"])]
        return self._learn(read, groups, epochs, spent)

    def _embedded(self, part: Sentences) -> States:
        """Sentences as the embeddings that a trunk of one's own begins with."""
        session = features.open_session(self.trunk_dir / "embed.onnx")
        rows = [session.run(["embedded"], {"input_ids": ids[None]})[0][0] for ids in part.ids]
        start = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return States(np.concatenate(rows), start)

    def _learn(
        self, read: Callable[[Sentences, np.ndarray], Tensor], groups: list[tuple[list[Any], float]], epochs: int, spent: float
    ) -> list[dict[str, float]]:  # fmt: skip
        """The curve: processor seconds of the steps, and the F1 at LOOKS points of each epoch."""
        torch.manual_seed(self.seed)
        head = nn.Linear(3 * 2 * 384, len(TAGS))
        every = [*groups, (list(head.parameters()), RATES["head"])]
        optimizer = torch.optim.AdamW(
            [{"params": p, "peak": rate} for p, rate in every], lr=1e-3, weight_decay=0.01
        )
        curve, steps = [], 0
        batches = int(np.ceil(len(self.train) / BATCH))
        looks = {round(batches * (k + 1) / LOOKS) for k in range(LOOKS)}
        for epoch in range(epochs):
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.train))
            for number in range(batches):
                began = time.process_time()
                at = steps / (epochs * batches)
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * min(1.0, (at + 0.005) / 0.06) * max(0.05, 1 - at)
                which = order[number * BATCH : (number + 1) * BATCH]
                tags = np.concatenate([self.train.tags[row] for row in which])
                loss = F.cross_entropy(
                    head(self._beside(read(self.train, which), self.train, which)), torch.from_numpy(tags)
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
                optimizer.step()
                steps += 1
                spent += time.process_time() - began
                if number + 1 in looks:
                    curve.append({"cpu_s": round(spent, 2), "value": round(self._f1(read, head), 4)})
        return curve

    @staticmethod
    def _beside(x: Tensor, part: Sentences, which: np.ndarray) -> Tensor:
        """Each word's states with those of the words before and after it in its sentence. Shapes: (words, K) -> (words, 3K)."""
        ends = np.cumsum([len(part.firsts[row]) for row in which])
        before, after = x.roll(1, 0), x.roll(-1, 0)
        edge = torch.zeros(len(x), 1)
        first, last = edge.clone(), edge.clone()
        first[np.concatenate([[0], ends[:-1]])], last[ends - 1] = 1.0, 1.0
        return torch.cat([before * (1 - first), x, after * (1 - last)], dim=-1)

    @torch.no_grad()
    def _f1(self, read: Callable[[Sentences, np.ndarray], Tensor], head: nn.Module) -> float:
        right = said = there = 0
        for which in np.array_split(np.arange(len(self.val)), max(1, len(self.val) // 64)):
            found, at = head(self._beside(read(self.val, which), self.val, which)).argmax(1).numpy(), 0
            for row in which:
                tags = self.val.tags[row]
                ours, truth = names(found[at : at + len(tags)]), names(tags)
                at += len(tags)
                right += len(ours & truth)
                said += len(ours)
                there += len(truth)
        return 2 * right / max(1, said + there)


def _places(batch: Batch, part: Sentences, which: np.ndarray) -> Tensor:
    """Where the first pieces of all words lie in a flattened batch. Gives (words,) int64."""
    segment, position = batch.segment.flatten(), batch.position.flatten()
    where = {
        (text, at): place
        for place, (text, at) in enumerate(zip(segment.tolist(), position.tolist(), strict=True))
        if text >= 0
    }
    return torch.tensor([where[i, int(at)] for i, row in enumerate(which) for at in part.firsts[row]])


def names(tags: np.ndarray) -> set[tuple[int, int]]:
    """Spans of whole names: (first word, word after the last). An inside without a begin begins one."""
    spans, begin = set(), None
    for place, tag in enumerate([*tags.tolist(), 0]):
        if begin is not None and tag != 2:
            spans.add((begin, place))
            begin = None
        if tag == 1 or (tag == 2 and begin is None):
            begin = place
    return spans


if __name__ == "__main__":
    print("full" if FULL else "small", flush=True)
    rows(Results("adapters"))
