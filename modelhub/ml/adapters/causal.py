"""LoRA on causal language models by transformers and peft: attention only, resumable, on one process or several.

`python -m modelhub.ml.adapters.causal --model PATH --rows chats.jsonl --out DIR` trains a checkpoint that lies on this
machine (a Hugging Face folder: DeepSeek, Qwen-MoE and others); `--model tiny-deepseek` or `tiny-qwen` makes a small one of
the same architecture. Several processes share the rows through accelerate: on cards `accelerate launch --num_processes 2
-m modelhub.ml.adapters.causal …`, on processors `torchrun --standalone --nproc_per_node 2 -m modelhub.ml.adapters.causal …
--cpu` (accelerate's own launcher takes MPI there).

Only attention is adapted. transformers 5 keeps experts as fused 3-D parameters; peft rewrites names such as `gate_proj`
onto them, which forbids mixed batches, and a call that fails leaves its hooks behind: such targets are refused before peft
sees the model, and a model that an attempt failed on is thrown away and built again. peft and accelerate are the extra
`finetune` of this package.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelhub.ml.adapters.inner import LossNotFinite
from modelhub.ml.train import checkpoint

TINY = ("tiny-deepseek", "tiny-qwen")
ATTENTION = ("self_attn.", "attention.")
RATE, CLIP, IGNORED = 2e-4, 1.0, -100
Build = Callable[[], Any]


class Unavailable(RuntimeError):
    """peft isn't installed."""


class NotAttention(ValueError):
    """Something else than attention was asked to be adapted."""


@dataclass(frozen=True, slots=True)
class CausalOptions:
    """`rate`: of the adapter; `tokens`: at which a conversation is cut."""

    rank: int = 8
    epochs: int = 3
    batch: int = 8
    rate: float = RATE
    tokens: int = 512
    seed: int = 0


# ------------------------------------------------------------------------------------------------ models


def tiny(kind: str, vocabulary: int = 512, seed: int = 0) -> Any:
    """A small randomly begun model of DeepSeek-V3's or Qwen3-MoE's architecture. Raises ValueError for another kind."""
    from transformers import AutoModelForCausalLM, DeepseekV3Config, Qwen3MoeConfig

    shared: dict[str, Any] = {
        "vocab_size": vocabulary, "hidden_size": 64, "intermediate_size": 128, "moe_intermediate_size": 32,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "num_experts_per_tok": 2,
        "max_position_embeddings": 256, "tie_word_embeddings": False, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    if kind == "tiny-deepseek":
        config: Any = DeepseekV3Config(
            **shared, n_routed_experts=4, n_shared_experts=1, first_k_dense_replace=1, q_lora_rank=32, kv_lora_rank=16,
            qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, n_group=1, topk_group=1,
        )  # fmt: skip
    elif kind == "tiny-qwen":
        config = Qwen3MoeConfig(
            **shared, num_experts=4, head_dim=16, decoder_sparse_step=1, norm_topk_prob=True
        )
    else:
        raise ValueError(f"{kind!r} is unknown: use one of {', '.join(TINY)}, or the folder of a checkpoint")
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config).eval()


def builder(model: str, seed: int = 0) -> Build:
    """What makes the model again and again: a folder of a checkpoint on this machine, or one of TINY.

    Raises FileNotFoundError for what is neither: nothing is downloaded.
    """
    if model in TINY:
        return lambda: tiny(model, seed=seed)
    folder = Path(model)
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"{model} holds no config.json: give the folder of a checkpoint, or one of {', '.join(TINY)}"
        )

    def load() -> Any:
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        ).eval()

    return load


def attention_targets(model: Any) -> list[str]:
    """Names of the linear layers inside attention, whole, so that nothing else can match. Raises NotAttention for none."""
    found = [
        name for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and any(mark in name for mark in ATTENTION)
    ]  # fmt: skip
    if not found:
        raise NotAttention(f"{type(model).__name__} has no linear layers inside attention to adapt")
    return found


def check_targets(model: Any, targets: Sequence[str]) -> None:
    """Raises NotAttention before peft touches anything."""
    known = set(attention_targets(model))
    wrong = [name for name in targets if name not in known]
    if wrong:
        raise NotAttention(
            f"{wrong[0]!r} is no linear layer inside attention. Experts are fused parameters here: an adapter on them can't be "
            f"mixed in one batch with others. Leave the targets out to adapt attention, all of it."
        )


def with_lora(build: Build, options: CausalOptions, targets: Sequence[str] | None = None) -> Any:
    """A model with a LoRA adapter on its attention; what it was built from is frozen and in `eval()`.

    Raises Unavailable, NotAttention; what peft raises leaves only after the model it failed on is given up.
    """
    if importlib.util.find_spec("peft") is None:
        raise Unavailable("LoRA on language models takes peft: pip install 'switchyard[finetune]'")
    from peft import LoraConfig, get_peft_model

    model = build()
    wanted = list(targets) if targets is not None else attention_targets(model)
    check_targets(model, wanted)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=2 * options.rank,
        lora_dropout=0.0,
        target_modules=wanted,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(options.seed)
    return get_peft_model(model, config)


def own_weights(model: Any) -> dict[str, torch.Tensor]:
    """The adapter's weights by name."""
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def trunk_hash(model: Any) -> str:
    """SHA-256 over everything that isn't the adapter's: parameters and buffers."""
    mine = set(own_weights(model))
    held = {name: value for name, value in model.state_dict().items() if name not in mine}
    return checkpoint.weight_hash({name: value.float() for name, value in held.items()})


# ------------------------------------------------------------------------------------------------ rows


def rows_of(
    chats: Sequence[Sequence[dict[str, str]]], encode: Callable[[str], list[int]], end: int, most: int
) -> list[Any]:
    """(ids, labels) of each conversation: only what the assistant said is learned. Cut and refused as `learnable` does."""
    spelt = []
    for chat in chats:
        ids: list[int] = []
        labels: list[int] = []
        for turn in chat:
            said = encode(f"<|{turn['role']}|>\n{turn['content']}\n") + (
                [end] if turn["role"] == "assistant" else []
            )
            ids += said
            labels += said if turn["role"] == "assistant" else [IGNORED] * len(said)
        spelt.append((ids, labels))
    return learnable(spelt, most)


def learnable(spelt: Sequence[tuple[list[int], list[int]]], most: int) -> list[Any]:
    """(ids, labels) of the conversations in which something is learned; too long ones are cut at the front. Raises ValueError
    where nothing is left to learn."""
    rows = []
    for ids, labels in spelt:
        ids, labels = ids[-most:], labels[-most:]
        if any(label != IGNORED for label in labels):
            rows.append((np.array(ids), np.array(labels)))
    if not rows:
        raise ValueError("no row holds an answer of the assistant: there is nothing to learn")
    return rows


def padded(rows: Sequence[Any]) -> dict[str, torch.Tensor]:
    """One batch. Shapes: (B, T) each."""
    width = max(len(ids) for ids, _ in rows)
    shape = (len(rows), width)
    ids, mask, labels = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, IGNORED)
    for row, (own, told) in enumerate(rows):
        ids[row, : len(own)], mask[row, : len(own)], labels[row, : len(own)] = own, 1, told
    return {
        "input_ids": torch.from_numpy(ids),
        "attention_mask": torch.from_numpy(mask),
        "labels": torch.from_numpy(labels),
    }


# ------------------------------------------------------------------------------------------------ training


class _Own(nn.Module):
    """The adapter's weights alone, for checkpoints."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        for name, value in own_weights(model).items():
            self.register_parameter(name.replace(".", "/"), value)


def train(
    build: Build, rows: list[Any], options: CausalOptions, *, out: Path, folder: Path | None = None, accelerator: Any = None,
    progress: Callable[[dict[str, Any]], None] = lambda told: None, should_stop: Callable[[], bool] = lambda: False,
    adapt: Callable[[Build, CausalOptions], Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Train and write `out` as peft writes adapters (safetensors); gives the report. `adapt` in place of peft's LoRA.

    Several processes each take their share of a batch and average gradients; the first one alone writes. Resumes from
    `folder` after a kill at any moment, on one processor to the same weights. Raises LossNotFinite, Unavailable.
    """
    model = (adapt or with_lora)(build, options)
    before, started = trunk_hash(model), time.monotonic()
    device = (
        accelerator.device
        if accelerator is not None
        else torch.device("cuda" if torch.cuda.is_available() else "cpu")
    )
    model.to(device)
    model.eval()  # no dropout, and no buffer of a gate moves; gradients flow all the same
    own = _Own(model)
    optimizer = torch.optim.AdamW(own.parameters(), lr=options.rate, weight_decay=0.0)
    meta = (checkpoint.restore(folder, own, [optimizer]) if folder else None) or {"step": 0, "curve": []}
    several, place = (
        (accelerator.num_processes, accelerator.process_index) if accelerator is not None else (1, 0)
    )
    curve, batches = meta["curve"], -(-len(rows) // options.batch)
    for step in range(meta["step"], options.epochs * batches):
        if should_stop():
            return {"stopped": True, "curve": curve}
        order = np.random.default_rng((options.seed, step // batches)).permutation(len(rows))
        which = order[(step % batches) * options.batch : (step % batches + 1) * options.batch]
        mine = which[place::several]
        whole = sum(learned(rows[i]) for i in which)
        loss = _step(model, own, optimizer, [rows[i] for i in mine], whole, accelerator, device)
        if not np.isfinite(loss):
            raise LossNotFinite(
                f"The loss became {loss} at step {step + 1}: start again with a smaller rate than {options.rate:g}."
            )
        curve.append(round(loss, 5))
        if folder is not None and place == 0:
            checkpoint.save(folder, own, [optimizer], {"step": step + 1, "curve": curve})
        progress({"stage": "training", "step": step + 1, "of": options.epochs * batches, "loss": loss})
    after = trunk_hash(model)
    if place == 0:
        model.save_pretrained(str(out), safe_serialization=True)
    return {
        "stopped": False, "steps": len(curve), "loss": [curve[0], curve[-1]], "curve": curve, "processes": several,
        "rows": len(rows), "seconds": round(time.monotonic() - started, 2),
        "device": str(device), "weight_hash": checkpoint.weight_hash({n: v.detach() for n, v in own_weights(model).items()}),
        "trunk_hash": {"before": before, "after": after, "equal": before == after},
        "parameters": sum(value.numel() for value in own_weights(model).values()),
    }  # fmt: skip


def learned(row: Any) -> int:
    """How many tokens of a row are learned: each is foretold from the one before, so a first one never is."""
    return int((row[1][1:] != IGNORED).sum())


def _step(
    model: Any, own: _Own, optimizer: Any, rows: list[Any], whole: int, accelerator: Any, device: torch.device
) -> float:
    """One step on this process's rows; the mean loss over the `whole` tokens that all processes' rows have to learn."""
    optimizer.zero_grad(set_to_none=False)
    total = torch.zeros((), device=device)
    if rows:
        batch = {name: value.to(device) for name, value in padded(rows).items()}
        loss = model(**batch).loss * (sum(map(learned, rows)) / whole)
        loss.backward()
        total = loss.detach()
    if accelerator is not None and accelerator.num_processes > 1:
        for parameter in own.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = accelerator.reduce(parameter.grad, reduction="sum")
        total = accelerator.reduce(total, reduction="sum")
    nn.utils.clip_grad_norm_(own.parameters(), CLIP)
    optimizer.step()
    return float(total)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train from the command line; under `accelerate launch` with as many processes as it says."""
    from modelhub.ml.adapters.chat_rows import rows_for  # it imports this module

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--rows", type=Path, required=True, help='lines of {"messages": [{"role", "content"}]}'
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="checkpoints: the same folder again goes on")
    parser.add_argument("--cpu", action="store_true")
    for name in ("epochs", "batch", "rank", "tokens", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(CausalOptions(), name))
    parser.add_argument("--rate", type=float, default=RATE)
    given = parser.parse_args(arguments)
    options = CausalOptions(given.rank, given.epochs, given.batch, given.rate, given.tokens, given.seed)
    accelerator = None
    if importlib.util.find_spec("accelerate") is not None:
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=given.cpu)
    chats = [
        json.loads(line)["messages"] for line in given.rows.read_text("utf-8").splitlines() if line.strip()
    ]
    rows = rows_for(given.model, chats, given.tokens)
    report = train(
        builder(given.model, given.seed),
        rows,
        options,
        out=given.out,
        folder=given.work,
        accelerator=accelerator,
    )
    if accelerator is None or accelerator.is_main_process:
        print(json.dumps(report))


def tokenizer_of(model: str) -> tuple[Callable[[str], list[int]], int]:
    """(encode, end token) of a checkpoint's own tokenizer; bytes for the tiny ones."""
    if model in TINY:
        return (lambda text: [1 + byte for byte in text.encode()]), 0
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    return (lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]), int(tokenizer.eos_token_id)


if __name__ == "__main__":
    main()
