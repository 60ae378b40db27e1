"""A router on disk: tables in 8 bits with a scale a column, the rest in 32; read back checked, never unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from routing.learned.features import MARKS, TERMS, VOCABULARY, Read, Reads, TokenTable, read
from routing.learned.scorer import PARTS, Mix, Parts, Scorer

IN_BYTES = ("term_weight", "domain_weight", "near", "vectors")
EXACT = ("idf", "term_bias", "domain_bias", "prior", "centre", "scale", "dense_weight", "mean", "near_score")
MIX = ("common", "apart", "base", "mix_centre", "offset")


@dataclass(frozen=True, slots=True)
class Router:
    """A scorer with what it needs to read a prompt. `facts`: the rest of what was written (verdicts by domain)."""

    scorer: Scorer
    table: TokenTable
    facts: dict[str, Any]

    def speaks(self, domain: int) -> bool:
        """Whether prompts' own chances beat chance in this domain's table; else its means are used."""
        table = self.facts["table_of"][self.scorer.domains[domain]]
        return bool(self.facts["verdicts"][table]["verdict"] == "learned")

    def read(self, texts: list[str], reader: Reads) -> Read:
        return read(texts, reader, self.table)


def save(path: Path, router: Router) -> None:
    """Write as `.npz`. Token vectors are written for tokens that have one."""
    parts, mix = router.scorer.parts, router.scorer.mix
    values: dict[str, np.ndarray] = {name: getattr(parts, name) for name in EXACT}
    values |= {"common": mix.common, "apart": mix.apart, "base": mix.base, "mix_centre": mix.centre,
               "offset": router.scorer.offset}  # fmt: skip
    own = np.flatnonzero(np.abs(router.table.vectors).max(axis=1) > 0)
    tables = {name: getattr(parts, name) for name in IN_BYTES[:3]} | {"vectors": router.table.vectors[own]}
    for name, table in tables.items():
        scale = np.maximum(np.abs(table).max(axis=0), 1e-9) / 127
        values[name] = np.rint(table / scale).astype(np.int8)
        values[f"{name}_scale"] = scale.astype(np.float32)
    values |= {"vector_of": own.astype(np.uint16), "token_weight": router.table.weight.astype(np.float16)}
    kept = np.flatnonzero(parts.slot >= 0)
    values["terms"] = kept[np.argsort(parts.slot[kept])].astype(np.uint32)
    told = {
        "models": router.scorer.models, "domains": router.scorer.domains, "neighbours": parts.neighbours,
        "width": parts.width, "familiar": router.scorer.familiar, "facts": router.facts,
    }  # fmt: skip
    values["told"] = np.frombuffer(json.dumps(told).encode(), np.uint8)
    np.savez_compressed(path, allow_pickle=False, **values)


def load(path: Path) -> Router:
    """Read what `save` wrote. Raises ValueError for tables of another shape or values that are no numbers."""
    with np.load(path, allow_pickle=False) as stored:
        needed = {"told", "terms", "vector_of", "token_weight", *IN_BYTES, *EXACT, *MIX}
        if missing := needed - set(stored):
            raise ValueError(f"{path.name} lacks {', '.join(sorted(missing))}")
        told = json.loads(stored["told"].tobytes())
        read = {name: stored[name].astype(np.float32) for name in (*EXACT, *MIX)}
        read |= {n: stored[n].astype(np.float32) * stored[f"{n}_scale"] for n in IN_BYTES}
        terms, own = stored["terms"].astype(np.int64), stored["vector_of"].astype(np.int64)
        weight = stored["token_weight"].astype(np.float32)
    _check(path.name, told, read, terms, own, weight)
    slot = np.full(TERMS, -1, np.int32)
    slot[terms] = np.arange(len(terms))
    vectors = np.zeros((VOCABULARY, read["vectors"].shape[1]), np.float32)
    vectors[own] = read.pop("vectors")
    offset = read.pop("offset")
    mix = Mix(read.pop("common"), read.pop("apart"), read.pop("base"), read.pop("mix_centre"))
    parts = Parts(slot=slot, neighbours=int(told["neighbours"]), width=float(told["width"]), **read)
    models, domains = tuple(told["models"]), tuple(told["domains"])
    scorer = Scorer(models, domains, parts, mix, offset, float(told["familiar"]))
    return Router(scorer, TokenTable(vectors, weight), told["facts"])


def _check(
    name: str, told: dict[str, Any], read: dict[str, np.ndarray], terms: np.ndarray, own: np.ndarray, weight: np.ndarray
) -> None:  # fmt: skip
    models, domains, width = len(told["models"]), len(told["domains"]), read["vectors"].shape[1]
    dense = width + len(MARKS)
    expected = {
        "term_weight": (len(terms), models), "domain_weight": (len(terms), domains), "prior": (domains, models),
        "dense_weight": (dense, models), "centre": (dense,), "scale": (dense,), "idf": (len(terms),),
        "near": (len(read["near_score"]), width), "near_score": (len(read["near"]), models), "base": (models,),
        "mix_centre": (len(PARTS), models), "common": (len(PARTS),), "apart": (len(PARTS),),
        "vectors": (len(own), width), "offset": (domains, models),
    }  # fmt: skip
    for key, shape in expected.items():
        if read[key].shape != shape:
            raise ValueError(f"{name}: {key} has shape {read[key].shape}, expected {shape}")
    if not all(np.isfinite(value).all() for value in read.values()) or not np.isfinite(weight).all():
        raise ValueError(f"{name} holds values that are no numbers")
    if (
        len(weight) != VOCABULARY
        or (len(own) and own.max() >= VOCABULARY)
        or (len(terms) and terms.max() >= TERMS)
    ):
        raise ValueError(f"{name} speaks of tokens that the tokenizer doesn't have")
