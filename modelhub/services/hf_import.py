"""A Hugging Face folder on this machine becomes a registered model: safetensors only, every file looked at before it is copied.

look at names → config → weights' headers → copy by hash → manifest, card → a deployment that waits for its server
"""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from modelhub import artifacts
from modelhub.models import Deployment
from modelhub.services.registration import checked_base_url
from modelhub.services.signatures import sign_artifact
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.errors import Conflict, ValidationFailed
from switchyard.tenancy.models import Organisation, User, slug_validator

ALLOWED = {".safetensors", ".json", ".txt", ".md", ".jinja", ".model", ".tiktoken"}
KEPT = {".safetensors", ".json", ".txt", ".md"}  # what an artifact may hold
RUNS_CODE = {
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".h5",
    ".msgpack",
    ".npy",
    ".npz",
    ".joblib",
    ".dill",
}
ARCHITECTURES = (
    "Deepseek", "Qwen", "Llama", "Mistral", "Mixtral", "Gemma", "Phi", "GPTNeoX", "Olmo", "Granite", "Glm", "MiniMax", "Bert",
    "Roberta", "ModernBert", "XLMRoberta",
)  # fmt: skip
MOST_HEADER = 100 * 1024 * 1024
BYTES = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "F8_E4M3": 1,
    "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(slots=True)
class Looked:
    """What was found in a folder, and what is wrong with it."""

    folder: Path
    faults: list[dict[str, Any]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    parameters: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0

    def fault(self, name: str, message: str) -> None:
        self.faults.append({"path": name, "line": 0, "column": 0, "message": message})


def look(folder: Path) -> Looked:
    """Everything that speaks against a folder, without loading any of it."""
    seen = Looked(folder)
    if folder.is_symlink() or not folder.is_dir():
        seen.fault(str(folder.name), "is no folder")
        return seen
    for path in sorted(folder.iterdir()):
        _look_at_file(seen, path)
    if seen.bytes > conf("IMPORT_MAX_BYTES"):
        seen.fault(folder.name, f"has {seen.bytes} bytes; at most {conf('IMPORT_MAX_BYTES')} are taken")
    _look_at_config(seen)
    weights = [path for path in seen.files if path.suffix == ".safetensors"]
    if not weights:
        seen.fault(folder.name, "has no .safetensors file")
    names: set[str] = set()
    for path in weights:
        _look_at_weights(seen, path, names)
    _look_at_index(seen, {path.name for path in weights}, names)
    return seen


def _look_at_file(seen: Looked, path: Path) -> None:
    if path.is_symlink():
        seen.fault(path.name, "is a symbolic link: copy what it points to")
    elif path.is_dir():
        seen.fault(path.name, "is a folder: weights and configuration lie at the top")
    elif path.suffix.lower() in RUNS_CODE:
        seen.fault(path.name, "can run code when it is loaded: convert it to safetensors and remove it")
    elif path.suffix == ".py":
        seen.fault(
            path.name,
            "is code: models are loaded by architectures that transformers knows, never by a folder's own code",
        )
    elif path.suffix.lower() not in ALLOWED and path.name not in ("LICENSE", ".gitattributes", "merges.txt"):
        seen.fault(path.name, f"{path.suffix or 'no suffix'} is no kind of file that is taken")
    elif not path.is_file():
        seen.fault(path.name, "is no plain file")
    else:
        seen.bytes += path.stat().st_size
        seen.files.append(path)


def _look_at_config(seen: Looked) -> None:
    try:
        config = json.loads((seen.folder / "config.json").read_text("utf-8"))
    except FileNotFoundError:
        return seen.fault("config.json", "is missing")
    except (OSError, ValueError, RecursionError) as error:
        return seen.fault("config.json", f"is not JSON: {str(error)[:100]}")
    if not isinstance(config, dict):
        return seen.fault("config.json", "is no object")
    seen.config = config
    if config.get("auto_map"):
        seen.fault("config.json", "auto_map asks for code of the folder's own")
    names = config.get("architectures")
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        seen.fault("config.json", "architectures is missing")
    elif unknown := [n for n in names if not n.startswith(ARCHITECTURES)]:
        seen.fault("config.json", f"architecture {unknown[0][:60]!r} is not one that is served here")
    return None


def _look_at_weights(seen: Looked, path: Path, names: set[str]) -> None:
    """The header alone says what is in the file: names, kinds of numbers, shapes, places; none may overlap or leave it."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if not 2 <= length <= min(MOST_HEADER, size - 8):
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        spans = []
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            begin, end = tensor["data_offsets"]
            count = 1
            for dimension in tensor["shape"]:
                if not isinstance(dimension, int) or dimension < 0:
                    raise ValueError(f"{name} has no shape")
                count *= dimension
            if tensor["dtype"] not in BYTES or end - begin != count * BYTES[tensor["dtype"]]:
                raise ValueError(f"{name} says another size than it has")
            if name in names:
                raise ValueError(f"{name} is there twice")
            names.add(name)
            spans.append((begin, end))
            seen.parameters += count
            seen.dtypes[tensor["dtype"]] = seen.dtypes.get(tensor["dtype"], 0) + count
        _check_spans(sorted(spans), size - 8 - length)
    except (ValueError, KeyError, TypeError, struct.error, OSError, RecursionError) as error:
        seen.fault(path.name, f"is no whole safetensors file: {str(error)[:120]}")


def _check_spans(spans: list[tuple[int, int]], size: int) -> None:
    reached = 0
    for begin, end in spans:
        if begin != reached:
            raise ValueError("its tensors overlap or leave gaps")
        reached = end
    if reached != size:
        raise ValueError(f"its tensors end at byte {reached} of {size}")


def _look_at_index(seen: Looked, files: set[str], names: set[str]) -> None:
    index = seen.folder / "model.safetensors.index.json"
    if index.is_symlink() or not index.is_file():
        return None
    try:
        placed = json.loads(index.read_text("utf-8"))["weight_map"]
        lacking = sorted(set(placed.values()) - files)
        unheld = sorted(set(placed) - names)
    except (ValueError, KeyError, TypeError, AttributeError):
        return seen.fault(index.name, "is no index of weights")
    if lacking:
        seen.fault(index.name, f"{lacking[0]} is missing")
    elif unheld:
        seen.fault(index.name, f"{unheld[0]} is in none of the files")
    return None


def card_of(seen: Looked, name: str) -> dict[str, Any]:
    """Facts as they are in the files; nothing was measured yet, and it says so."""
    config = seen.config
    wanted = ("hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings", "n_routed_experts", "num_experts",
              "num_experts_per_tok", "torch_dtype", "dtype")  # fmt: skip
    return {
        "id": name, "kind": "causal-lm-checkpoint" if "CausalLM" in config["architectures"][0] else "checkpoint",
        "version": "1", "precision": ", ".join(sorted(seen.dtypes)), "requires": {}, "heads": {}, "metrics": {},
        "title": config["architectures"][0], "model_type": config.get("model_type", ""),
        "parameters": {"total": seen.parameters, "active": None, "note": "counted in the files; active ones not measured"},
        "config": {key: config[key] for key in wanted if key in config},
        "train": {"command": "imported", "machine": "", "seed": None}, "created": now().date().isoformat(),
    }  # fmt: skip


def import_folder(
    *,
    organisation: Organisation,
    folder: Path,
    name: str,
    user: User | None,
    base_url: str = "http://127.0.0.1:8001/v1",
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Deployment:
    """Register a folder under a name: files copied by hash, signed, with a card; its deployment is off until a server answers.

    `progress` hears of bytes copied and of how many before each file; what it raises ends the import and leaves nothing.
    Raises ValidationFailed with everything that is wrong, Conflict for a name that is taken.
    """
    slug_validator(name)
    seen = look(folder)
    if seen.faults:
        raise ValidationFailed(
            f"{folder.name} can't be imported: {len(seen.faults)} things are wrong.", seen.faults
        )
    target = Path(settings.HOME) / "artifacts" / name
    if target.exists() or Deployment.objects.filter(organisation=organisation, name=name).exists():
        raise Conflict(f"The name {name} is taken: choose another.", code="name_taken")
    draft = target.with_name(f".{name}.{os.getpid()}")
    try:
        manifest = _copy(seen, draft, name, progress)
        with transaction.atomic():
            row = Deployment.objects.create(
                organisation=organisation, name=name, side="private", base_url=checked_base_url(base_url), model=name,
                tasks=["chat", "completion"] if manifest["kind"] == "causal-lm-checkpoint" else ["embedding"], enabled=False,
                note=f"Imported {manifest['title']}, {seen.parameters:,} parameters; start a server by its launch specification.",
            )  # fmt: skip
            record(
                actor=user, action="model.imported", target=f"deployment:{name}", organisation_id=organisation.pk,
                detail={"folder": folder.name, "manifest": artifacts.digest(draft / artifacts.MANIFEST), "bytes": seen.bytes},
            )  # fmt: skip
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return row


def _copy(seen: Looked, draft: Path, name: str, progress: Callable[[int, int], None]) -> dict[str, Any]:
    draft.mkdir(parents=True)
    roles, done = {}, 0
    for path in seen.files:
        progress(done, seen.bytes)
        done += path.stat().st_size
        if path.suffix in KEPT:
            shutil.copyfile(path, draft / path.name, follow_symlinks=False)
            roles[path.name] = path.name
    card = card_of(seen, name)
    facts = "\n".join(f"- {key}: {value}" for key, value in card["config"].items())
    text = (
        f"# {name}\n\n{card['title']}, imported on {card['created']}.\n\n- parameters: {seen.parameters:,}\n"
    )
    text += f"- numbers: {card['precision']}\n- bytes: {seen.bytes:,}\n{facts}\n\nNothing was measured of it here yet.\n"
    (draft / "card.md").write_text(text, encoding="utf-8")
    manifest = artifacts.write_manifest(draft, card, roles | {"card": "card.md"})
    sign_artifact(draft)
    return manifest
