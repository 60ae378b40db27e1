"""LoRA on causal language models: tiny DeepSeek-V3 and Qwen-MoE, attention only. Skipped aloud without the extra `finetune`."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from modelhub.ml.adapters import causal
from modelhub.ml.adapters.causal import CausalOptions, NotAttention, attention_targets, builder, rows_of, tiny

CHATS = [
    [
        {"role": "user", "content": f"machine {number} stands still"},
        {"role": "assistant", "content": "call the night shift"},
    ]
    for number in range(12)
]
ROOT = Path(__file__).resolve().parents[3]
needs_peft = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None or importlib.util.find_spec("accelerate") is None,
    reason="peft and accelerate are not installed (extra `finetune`)",
)
OPTIONS = CausalOptions(rank=4, epochs=2, batch=4, rate=5e-3, tokens=64)


def rows():
    encode, end = causal.tokenizer_of("tiny-deepseek")
    return rows_of(CHATS, encode, end, 64)


@pytest.mark.parametrize("kind", causal.TINY)
def test_only_attention_is_a_target_and_experts_are_refused_before_anything_is_touched(kind):
    model = tiny(kind)
    targets = attention_targets(model)
    assert targets and all(".self_attn." in name for name in targets)
    before = {name: len(module._forward_hooks) for name, module in model.named_modules()}
    for wrong in ("gate_proj", "model.layers.1.mlp.experts.gate_up_proj", "lm_head"):
        with pytest.raises(NotAttention, match="attention"):
            causal.check_targets(model, [wrong])
    assert {name: len(module._forward_hooks) for name, module in model.named_modules()} == before


def test_only_the_assistants_words_are_learned():
    ids, labels = rows()[0]
    said = [label for label in labels if label != causal.IGNORED]
    assert (
        bytes(token - 1 for token in said[:-1]).decode().endswith("call the night shift\n") and said[-1] == 0
    )
    assert len(ids) == len(labels)
    with pytest.raises(ValueError, match="nothing to learn"):
        rows_of([[{"role": "user", "content": "hello"}]], lambda text: [1], 0, 8)


def test_nothing_is_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        builder("some/model-of-the-hub")
    with pytest.raises(ValueError, match="tiny-deepseek"):
        tiny("tiny-gpt")


def test_without_peft_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(causal.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(causal.Unavailable, match="finetune"):
        causal.with_lora(builder("tiny-qwen"), OPTIONS)


@needs_peft
@pytest.mark.parametrize("kind", causal.TINY)
def test_it_learns_and_the_trunk_is_the_same_before_and_after(kind, tmp_path):
    report = causal.train(builder(kind), rows(), OPTIONS, out=tmp_path)
    assert report["loss"][1] < report["loss"][0]
    assert report["trunk_hash"]["equal"]
    assert (tmp_path / "adapter_model.safetensors").is_file() and not list(tmp_path.glob("*.bin"))
    again = causal.with_lora(builder(kind), OPTIONS)
    again.load_adapter(str(tmp_path), "default")
    assert causal.trunk_hash(again) == report["trunk_hash"]["before"]


@needs_peft
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path):
    whole = causal.train(builder("tiny-deepseek"), rows(), OPTIONS, out=tmp_path / "a")
    told: list[dict] = []
    cut = causal.train(
        builder("tiny-deepseek"), rows(), OPTIONS, out=tmp_path / "b", folder=tmp_path / "work", progress=told.append,
        should_stop=lambda: len(told) == 2,
    )  # fmt: skip
    assert cut["stopped"] and not (tmp_path / "b").exists()
    resumed = causal.train(
        builder("tiny-deepseek"), rows(), OPTIONS, out=tmp_path / "b", folder=tmp_path / "work"
    )
    assert resumed["weight_hash"] == whole["weight_hash"]


@needs_peft
def test_two_adapters_in_one_batch_answer_as_each_alone(tmp_path):
    """Attention-only adapters mix in one batch, which those on fused experts can't."""
    model = causal.with_lora(builder("tiny-qwen"), OPTIONS)
    from peft import LoraConfig

    model.add_adapter(
        "other", LoraConfig(r=4, target_modules=attention_targets(tiny("tiny-qwen")), task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for index, (name, value) in enumerate(model.named_parameters()):
            if "lora_B" in name:
                value.normal_(0, 0.1, generator=torch.Generator().manual_seed(index))
    model.eval()
    ids = torch.arange(24).view(3, 8)
    with torch.no_grad():
        mixed = model(input_ids=ids, adapter_names=["default", "other", "__base__"]).logits
        for row, name in enumerate(["default", "other", "__base__"]):
            alone = model(input_ids=ids[row : row + 1], adapter_names=[name]).logits
            assert (alone - mixed[row : row + 1]).abs().max() < 1e-5
    assert (mixed[0] - mixed[2]).abs().max() > 0


@needs_peft
def test_a_call_that_fails_leaves_no_trace_on_the_next(monkeypatch):
    import peft

    real = peft.get_peft_model

    def breaks(model, config):
        model.register_forward_hook(lambda *_: None)  # what peft leaves behind when it fails
        raise ValueError("target modules")

    monkeypatch.setattr(peft, "get_peft_model", breaks)
    build = builder("tiny-qwen")
    with pytest.raises(ValueError, match="target modules"):
        causal.with_lora(build, OPTIONS)
    monkeypatch.setattr(peft, "get_peft_model", real)
    model = causal.with_lora(build, OPTIONS)
    assert not any(module._forward_hooks for module in model.base_model.model.children())


@needs_peft
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_through_accelerate_learn_what_one_does(tmp_path):
    options = CausalOptions(epochs=1, batch=4, rate=5e-3, tokens=64)
    one = causal.train(builder("tiny-deepseek"), rows(), options, out=tmp_path / "one")
    lines = tmp_path / "rows.jsonl"
    lines.write_text("\n".join(json.dumps({"messages": chat}) for chat in CHATS))
    paths = [str(ROOT), str(ROOT / "platform"), *sys.path]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    launch = (
        "-m torch.distributed.run --standalone --nproc_per_node 2"  # accelerate's own takes MPI on processors
    )
    ours = (
        f"-m modelhub.ml.adapters.causal --model tiny-deepseek --rows {lines} --out {tmp_path / 'two'} --cpu"
    )
    ours += " --epochs 1 --batch 4 --tokens 64 --rate 0.005"
    told = subprocess.run(
        [sys.executable, *launch.split(), *ours.split()], cwd=ROOT, env=env, check=True, capture_output=True, text=True,
        timeout=500,
    ).stdout  # fmt: skip
    two = json.loads(told.strip().splitlines()[-1])
    assert two["processes"] == 2
    assert two["curve"] == pytest.approx(one["curve"], abs=2e-3)
    assert two["trunk_hash"] == one["trunk_hash"] and two["trunk_hash"]["equal"]
    assert (tmp_path / "two" / "adapter_model.safetensors").is_file()
