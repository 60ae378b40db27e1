"""What doesn't survive: facts held in the experts of the fault-code model, asked of a small student that it taught.

A classifier's student learns a rule and the rule is small; facts have no rule, and each takes room in the weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from modelhub import artifacts
from modelhub.ml.distill.losses import distill_step
from modelhub.ml.distill.schedule import TemperatureScheduler
from modelhub.ml.kb.facts import ATTRIBUTES, Facts, generate
from modelhub.ml.kb.model import KnowledgeConfig, KnowledgeNet, tensors
from modelhub.ml.kb.train import recalled
from modelhub.ml.train.schedule import one_cycle

CODES, BATCH, RATE = 1500, 1024, 3e-3


def load_teacher(directory: Path) -> KnowledgeNet:
    """The shipped fault-code model. Raises ArtifactCorrupt."""
    manifest = artifacts.verify(directory)
    model = KnowledgeNet(KnowledgeConfig())
    name = next(role for role, entry in manifest["files"].items() if entry["name"].endswith(".safetensors"))
    weights = load_file(str(artifacts.file_of(directory, manifest, name)))
    model.load_state_dict({key: value.float() for key, value in weights.items()}, strict=False)
    return model.eval()


def survive(teacher: KnowledgeNet, *, steps: int, seed: int = 1, codes: int = CODES) -> dict[str, Any]:
    """Teach a dense student as large as what a fact meets in the teacher; gives the facts both recall.

    The student hears the teacher's soft answers to every fact it is asked, `steps` batches of them.
    """
    facts = generate(codes=codes)
    known, chosen = recalled(teacher, facts, "cpu")
    torch.manual_seed(seed)
    student = KnowledgeNet(teacher.config.dense_active(chosen))
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.0)
    scheduler = TemperatureScheduler(5.0, 1.0, steps=steps)
    rng, (equipment, code, _) = np.random.default_rng(seed), tensors(facts, "cpu")
    for step in range(steps):
        which = torch.from_numpy(rng.integers(len(facts), size=min(BATCH, len(facts))))
        with torch.no_grad():
            told = teacher(equipment[which], code[which])[0]
        loss = _loss(told, student(equipment[which], code[which])[0], scheduler)
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, steps, RATE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    kept = recalled(student.eval(), facts, "cpu")[0]
    return {
        "teacher_recalled": round(known, 4), "student_recalled": round(kept, 4), "share": round(kept / known, 4),
        "steps": steps, "facts": len(facts) * len(ATTRIBUTES), "chance": round(_chance(facts), 4), "seed": seed,
    }  # fmt: skip


def _loss(told: Tensor, found: Tensor, scheduler: TemperatureScheduler) -> Tensor:
    """KL·τ² of every attribute's answers; the temperature falls once a step, whatever the number of attributes."""
    sizes = list(ATTRIBUTES.values())
    stacked = [
        torch.stack(part.split(sizes, dim=1)) for part in (told, found)
    ]  # all attributes have as many answers
    return distill_step(stacked[0].flatten(0, 1), stacked[1].flatten(0, 1), scheduler)


def _chance(facts: Facts) -> float:
    """Facts right by always giving each attribute's commonest answer."""
    return float(
        np.mean([np.bincount(facts.answers[:, i]).max() / len(facts) for i in range(facts.answers.shape[1])])
    )
