"""LoRA on the demonstration language model: it learns, the base stays, a stopped run goes on, the graph answers as torch does."""

import numpy as np
import onnxruntime
import pytest
import torch

from modelhub import artifacts
from modelhub.ml.adapters import causal, tiny_lm
from modelhub.ml.adapters.causal import IGNORED, CausalOptions
from modelhub.ml.lm.config import SMOKE
from modelhub.ml.lm.model import TinyDeepseek

torch.set_num_threads(1)  # a hash is compared: sums in one order
BASE = artifacts.SHIPPED / "lm-tiny"
OPTIONS = CausalOptions(rank=4, epochs=3, batch=4, rate=2e-2, tokens=32)


def build():
    torch.manual_seed(0)
    return TinyDeepseek(SMOKE).eval()


def rows(count=12):
    """Whatever was asked, the answer is the same five tokens."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(count):
        asked = rng.integers(7, SMOKE.vocab_size, size=rng.integers(3, 9)).tolist()
        made.append(
            (np.array([*asked, 11, 12, 13, 14, 15]), np.array([IGNORED] * len(asked) + [11, 12, 13, 14, 15]))
        )
    return made


def train(out, **options):
    return causal.train(build, rows(), OPTIONS, out=out, adapt=tiny_lm.with_lora, **options)


def test_it_learns_and_the_base_is_the_same_before_and_after(tmp_path):
    report = train(tmp_path)
    assert report["loss"][1] < report["loss"][0] - 0.15  # attention alone, on a base that knows nothing
    assert report["trunk_hash"]["equal"]
    names = [name for name, _ in tiny_lm.with_lora(build, OPTIONS).named_parameters() if _.requires_grad]
    assert names and all(".self_attn." in name for name in names)
    assert {p.name for p in tmp_path.iterdir()} == {tiny_lm.ADAPTER, tiny_lm.GRAPH}


def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    whole = train(tmp_path / "whole")
    told: list[dict] = []
    cut = train(
        tmp_path / "a", folder=tmp_path / "kept", progress=told.append, should_stop=lambda: len(told) == 4
    )
    assert cut["stopped"] and not (tmp_path / "a" / tiny_lm.GRAPH).exists()
    again = train(tmp_path / "b", folder=tmp_path / "kept")
    assert again["weight_hash"] == whole["weight_hash"] and again["curve"] == whole["curve"]


def test_the_graph_answers_with_the_terms_folded_in(tmp_path):
    torch.manual_seed(2)
    model = tiny_lm.with_lora(build, OPTIONS)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith(".up"):
                value.normal_(0, 0.1)
    model.save_pretrained(str(tmp_path))
    ids = torch.arange(20, 29)[None]
    with torch.no_grad():
        torch_says, base_says = model.base(ids).logits[0, -1].numpy(), build()(ids).logits[0, -1].numpy()
    session = onnxruntime.InferenceSession(str(tmp_path / tiny_lm.GRAPH), providers=["CPUExecutionProvider"])
    width = SMOKE.kv_lora_rank + SMOKE.qk_rope_head_dim
    feed = {f"past.{i}": np.zeros((1, 9, width), np.float32) for i in range(SMOKE.num_hidden_layers)}
    feed |= {"ids": ids.numpy(), "lengths": np.array([0]), "counts": np.array([9])}
    says = session.run(["logits"], feed)[0].reshape(-1)[: SMOKE.vocab_size]
    assert np.abs(says - torch_says).max() < 5e-3 < np.abs(says - base_says).max()


def test_rows_are_written_as_the_served_model_reads_a_chat():
    from modelhub.serving.runners.lm import CausalLM

    chat = [{"role": "user", "content": "hello <|end|>"}, {"role": "assistant", "content": "good day"}]
    ((ids, labels),) = tiny_lm.rows_of([chat], BASE, 64)
    served = CausalLM(BASE)
    assert ids[: len(served.chat_prompt(chat[:1]))].tolist() == served.chat_prompt(chat[:1])
    said = [int(label) for label in labels if label != IGNORED]
    assert served.decode(said[:-1]) == "good day" and said[-1] in served.end_ids
    with pytest.raises(ValueError, match="nothing to learn"):
        tiny_lm.rows_of([chat[:1]], BASE, 64)
    with pytest.raises(ValueError, match="judge"):
        tiny_lm.rows_of([[{"role": "judge", "content": "x"}]], BASE, 64)


def test_the_shipped_model_is_one_that_takes_terms_and_a_text_model_is_not(tmp_path):
    assert tiny_lm.is_tiny(BASE)
    assert not tiny_lm.is_tiny(artifacts.SHIPPED / "txt-base") and not tiny_lm.is_tiny(tmp_path)
