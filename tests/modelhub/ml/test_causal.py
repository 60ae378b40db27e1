"""A language student from a tiny DeepSeek-V3 of transformers: real, small, resumable."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, DeepseekV3Config, LlamaConfig

from modelhub.ml.distill.causal import CausalDistillation, batch_at, compare, distill_causal, logits_of
from modelhub.ml.distill.loop import LossNotFinite
from modelhub.ml.train.checkpoint import weight_hash

VOCABULARY = 24
SHARED = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
CONFIG = CausalDistillation(steps=40, batch=8, sequence=24, rate=5e-3)


def text(length, seed):
    """A chain in which each token leaves a few likely followers: there is something to be unsure of."""
    following = np.random.default_rng(7).dirichlet(np.full(VOCABULARY, 0.15), VOCABULARY).cumsum(axis=1)
    rng, found = np.random.default_rng(seed), [1]
    for draw in rng.random(length):
        found.append(int(min(VOCABULARY - 1, np.searchsorted(following[found[-1]], draw))))
    return np.array(found)


def make_student(seed=1):
    torch.manual_seed(seed)
    shape = {
        "hidden_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 32,
    }
    return AutoModelForCausalLM.from_config(LlamaConfig(**SHARED, **shape))


@pytest.fixture(scope="module")
def teacher():
    torch.set_num_threads(1)  # small matrices gain nothing from more, and a busy machine loses
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(DeepseekV3Config(
        **SHARED, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, intermediate_size=64,
        moe_intermediate_size=24, num_experts_per_tok=2, n_routed_experts=8, n_group=1, topk_group=1, first_k_dense_replace=1,
        q_lora_rank=12, kv_lora_rank=12, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=12,
    ))  # fmt: skip
    optimizer, stream = torch.optim.AdamW(model.parameters(), lr=5e-3), text(20_000, 1)
    for step in range(60):
        ids = batch_at(stream, step, CONFIG)
        loss = F.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return logits_of(model.eval())


def test_a_student_of_deepseek_comes_nearer_to_it_than_one_of_the_text_alone(teacher):
    stream, held = text(20_000, 1), batch_at(text(3_000, 2), 0, CONFIG)
    taught = make_student()
    losses = distill_causal(teacher, taught, stream, CONFIG)
    alone = make_student()
    distill_causal(teacher, alone, stream, CausalDistillation(**{**_values(), "hard_share": 1.0}))
    by_teacher, by_text = (compare(teacher, logits_of(student), held) for student in (taught, alone))
    assert len(losses) == CONFIG.steps and losses[-1] < losses[0]
    assert by_teacher["divergence"] < by_text["divergence"]
    assert by_teacher["agreement"] >= by_text["agreement"] - 0.01
    assert by_teacher["agreement"] > 0.4


def test_a_killed_run_goes_on_to_the_same_weights(teacher, tmp_path):
    stream, short = text(5_000, 1), CausalDistillation(steps=6, batch=4, sequence=12, save_every=2)

    def end(student):
        return weight_hash(dict(student.state_dict()))

    unbroken = make_student()
    distill_causal(teacher, unbroken, stream, short)

    class Killed(Exception):
        pass

    asked = []

    def check():
        asked.append(1)
        if len(asked) == 4:
            raise Killed

    killed = make_student()
    with pytest.raises(Killed):
        distill_causal(teacher, killed, stream, short, work=tmp_path, check=check)
    resumed = make_student(seed=9)  # its weights come from the checkpoint
    distill_causal(teacher, resumed, stream, short, work=tmp_path)
    assert end(resumed) == end(unbroken)


def test_what_can_t_be_taught_is_said(teacher):
    stream = text(200, 1)
    with pytest.raises(ValueError, match="too short for sequences of 24"):
        batch_at(np.arange(20), 0, CONFIG)
    with pytest.raises(ValueError, match="the student"):
        distill_causal(lambda ids: torch.zeros(*ids.shape, 9), make_student(), stream, CONFIG)
    with pytest.raises(LossNotFinite):
        distill_causal(
            lambda ids: torch.full((*ids.shape, VOCABULARY), float("nan")), make_student(), stream, CONFIG
        )


def _values():
    return {name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__}
