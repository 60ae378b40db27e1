"""Fine-tuning one line of business's answers on a shared, frozen text model: its head, and where it helps an adapter inside.

- `head`: the head alone, on features of the frozen body. Seconds, on any text model.
- `lora`: low-rank terms in attention of the topmost blocks, and the head.
- `expert`: a plugin expert in these blocks, answering for this line of business only, and the head.
- `auto` (the default): the head first; with enough rows a plugin expert in the topmost block, on states that are computed
  once with the head's features, and LoRA on the same states. What is kept is what rows held back gain most by.

torch is imported when the work starts, so that callers may import this module without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modelhub import artifacts
from modelhub.ml.adapters.files import confidence, write_head_artifact
from modelhub.ml.adapters.head import AUTO_EPOCHS, train_head
from modelhub.ml.adapters.rows import MOST_REHEARSED, Part, Prepared, Row, TooFewRows, prepare, split_rows
from modelhub.ml.fairness.intervals import paired_difference, wilson
from modelhub.ml.text.served import FrozenBody

__all__ = ["AUTO_EPOCHS", "METHODS", "Options", "TooFewRows", "fine_tune", "fine_tune_head", "split_rows"]

METHODS = ("auto", "lora", "expert", "head")
# Below either, LoRA brought nothing over a head alone at five times its cost (docs/decisions/0046).
ENOUGH_ROWS, ENOUGH_PER_LABEL = 400, 20
BLOCKS = 2  # of six: what a third block adds is within the noise of a thousand rows, at 60 % more time


@dataclass(frozen=True, slots=True)
class Options:
    """What a customer may say; `auto` everywhere decides by the rows. Raises ValueError for nonsense."""

    method: str = "auto"
    epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    learning_rate_multiplier: float | Literal["auto"] = "auto"
    seed: int = 0
    blocks: int = BLOCKS

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is unknown: use one of {', '.join(METHODS)}")
        for name, most in (("epochs", 500), ("batch_size", 4096)):
            value = getattr(self, name)
            if value != "auto" and not 1 <= int(value) <= most:
                raise ValueError(f"{name} is `auto` or a number from 1 to {most}, got {value!r}")
        rate = self.learning_rate_multiplier
        if rate != "auto" and not 0 < float(rate) <= 1000:
            raise ValueError(
                f"learning_rate_multiplier is `auto` or a number over 0 up to 1000, got {rate!r}"
            )

    @property
    def planned(self) -> int:
        """Epochs, 0 for as many as it takes."""
        return 0 if self.epochs == "auto" else int(self.epochs)

    @property
    def multiplier(self) -> float:
        return 1.0 if self.learning_rate_multiplier == "auto" else float(self.learning_rate_multiplier)

    def batch(self, usual: int) -> int:
        return usual if self.batch_size == "auto" else int(self.batch_size)


@dataclass(slots=True)
class Run:
    """What a fine-tune has in hand: where it reads and writes, whom it tells, and the clock of its own compute."""

    body: FrozenBody
    prepared: Prepared
    options: Options
    trunk_dir: Path | None
    folder: Path | None
    progress: Callable[[dict[str, Any]], None]
    should_stop: Callable[[], bool]
    cpu_s: float = 0.0
    seen: Any = None  # what `inside.see_rows` gave

    def kept(self, name: str) -> Path | None:
        return self.folder / name if self.folder else None


def fine_tune(
    base_dir: Path, head: str, rows: list[Row], *, out_dir: Path, options: Options | None = None,
    validation: list[Row] | None = None, lob: str = "", progress: Callable[[dict[str, Any]], None] = lambda report: None,
    should_stop: Callable[[], bool] = lambda: False, checkpoint_dir: Path | None = None, trunk_dir: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Fit a head, and an adapter where asked or useful, on `rows` of (text, label); written to `out_dir`, `<head>@<version>`.

    Labels that the head did not know are added; a workload without a shipped head gets one of its own. A sample of the
    shipped rows is rehearsed, so that old labels aren't forgotten. Gives a report with accuracy before and after on the same
    held-back rows (`validation`, or a quarter of the rows). What `progress` raises ends the run at once; one that
    `should_stop` ends writes nothing (`"stopped": True`); started again with the same `checkpoint_dir` it goes on, and ends
    with the weights of an unbroken run. `lob` binds what is made to that line of business.
    Raises TooFewRows, LossNotFinite, NotOurForm where nothing can be added inside this body.
    """
    started, options = time.monotonic(), options or Options()
    body = FrozenBody(Path(base_dir), trunk_dir)
    progress({"stage": "features", "rows": len(rows)})
    inner = options.method in ("lora", "expert")
    prepared = prepare(
        body.directory, body.manifest, head, rows, seed=options.seed, trunk_dir=trunk_dir, validation=validation,
        rehearse=min(MOST_REHEARSED, len(rows)) if inner else MOST_REHEARSED,
    )  # fmt: skip
    run = Run(
        body,
        prepared,
        options,
        trunk_dir,
        Path(checkpoint_dir) if checkpoint_dir else None,
        progress,
        should_stop,
    )
    with one_thread():
        made = _by_method(run)
    report: dict[str, Any] = {
        "head": head, "method": made["method"], "method_because": made["because"], "stopped": made["stopped"],
        "rows": {
            "train": len(prepared.train) - prepared.rehearsed, "validation": len(prepared.held), "rehearsed": prepared.rehearsed,
        },
        "labels_added": prepared.labels[prepared.known :], "epochs": len(made["curve"]), "curve": made["curve"],
        "device": "cpu", "cpu_s": round(run.cpu_s + made["cpu_s"], 2),
        "hyperparameters": {"batch_size": made["batch"], "learning_rate_multiplier": options.multiplier, "seed": options.seed},
    }  # fmt: skip
    if not made["stopped"]:
        made |= confidence(body.manifest, prepared, made)
        report |= _judged(prepared, made) | made["told"]
        report["weight_hash"] = made["hash"]
        write_head_artifact(Path(out_dir), body.manifest, prepared, made, report, lob)
    report["seconds"] = round(time.monotonic() - started, 2)
    return report


@contextmanager
def one_thread() -> Iterator[None]:
    """torch sums in one order, whatever else the machine does: several threads that find it busy share a product otherwise,
    and a run that goes on after a kill would end with other weights than an unbroken one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fine_tune_head(
    base_dir: Path, head: str, rows: list[Row], *, out_dir: Path, epochs: int | Literal["auto"] = "auto", seed: int = 0,
    **where: Any,
) -> dict[str, Any]:  # fmt: skip
    """`fine_tune` by the method `head`. Raises KeyError for a head that the model doesn't ship."""
    if head not in FrozenBody(Path(base_dir), where.get("trunk_dir")).manifest["heads"]:
        raise KeyError(f"this model has no head {head!r}")
    options = Options(method="head", epochs=epochs, seed=seed)
    return fine_tune(base_dir, head, rows, out_dir=out_dir, options=options, **where)


# ------------------------------------------------------------------------------------------------ choosing


def _by_method(run: Run) -> dict[str, Any]:
    """The weights that are kept, by which method they came and why."""
    if run.options.method == "head":
        return _head(run) | {"because": "asked for"}
    if run.options.method in ("lora", "expert"):
        from modelhub.ml.adapters.inside import train_inside

        return train_inside(run, run.options.method) | {"because": "asked for"}
    why = too_few_for_lora(run.prepared)
    if not why:
        from modelhub.ml.adapters.inside import see_rows
        from modelhub.ml.text.adapted_graph import NotAdaptable
        from modelhub.ml.text.torch_form import NotOurForm

        try:
            run.seen = see_rows(run)
        except (NotAdaptable, NotOurForm) as error:
            why = f"this body takes no adapter inside: {error}"
    alone = _head(run)
    return alone | {"because": why} if alone["stopped"] or why else _adapter_if_it_helps(run, alone)


def too_few_for_lora(prepared: Prepared) -> str:
    """Why the head alone is fitted; empty where an adapter is worth a try."""
    rows, labels = len(prepared.train) - prepared.rehearsed, len(prepared.labels)
    if rows < ENOUGH_ROWS:
        return f"{rows} rows: under {ENOUGH_ROWS} an adapter brought nothing over the head alone"
    if rows < ENOUGH_PER_LABEL * labels:
        return f"{rows} rows for {labels} labels: under {ENOUGH_PER_LABEL} a label an adapter brought nothing"
    return ""


def _adapter_if_it_helps(run: Run, alone: dict[str, Any]) -> dict[str, Any]:
    """Cheapest first. An adapter starts from the head as it was shipped, or from nothing: behind a head that was fitted to
    the very rows it learns little but them."""
    from modelhub.ml.adapters.inside import train_inside

    tried = {"by the head alone": alone}
    for words, method, top in (
        ("with an expert in the topmost block", "expert", True), ("with LoRA", "lora", False),
    ):  # fmt: skip
        made = train_inside(run, method, top=top)
        if made["stopped"]:
            run.cpu_s += sum(one["cpu_s"] for one in tried.values())
            return made | {"because": ""}
        tried[words] = made
    best = min(tried.values(), key=_least)
    run.cpu_s += sum(one["cpu_s"] for one in tried.values() if one is not best)
    because = "held-back loss " + ", ".join(f"{_least(one):.4f} {words}" for words, one in tried.items())
    shares = {
        "head_alone" if one is alone else one["method"]: _share(one, run.prepared.held)
        for one in tried.values()
    }
    return best | {"because": because, "told": best["told"] | shares}


def _least(made: dict[str, Any]) -> float:
    return min(point["held_loss"] for point in made["curve"])


def _share(made: dict[str, Any], held: Part) -> dict[str, Any]:
    right = made["held_logits"].argmax(axis=1) == held.y
    return wilson(int(right.sum()), len(right)).as_dict() | {"n": len(right)}


def _head(run: Run) -> dict[str, Any]:
    """The head alone, on features as they are served."""
    own, options, used = run.prepared, run.options, time.process_time()

    def told(done: int, of: int) -> None:
        run.progress({"stage": "features", "rows": of, "done": done})

    width = own.weights.weight.shape[1]
    parts = []
    for name, part in (("train", own.train), ("held", own.held), ("guard", own.guard)):
        if run.seen is not None:
            x = run.seen[name].features
        else:
            x = run.body.features(part.texts, told)[0] if len(part) else np.zeros((0, width), np.float32)
        parts.append((x, part.offset, part.y))
        run.progress({"stage": "features", "rows": len(own.train), "done": len(own.train)})
    run.cpu_s += time.process_time() - used
    batch = options.batch(64)
    tuned = train_head(
        own.weights, (parts[0], parts[1]), epochs=options.planned, seed=options.seed, batch=batch,
        multiplier=options.multiplier, progress=run.progress, should_stop=run.should_stop, folder=run.kept("head"),
    )  # fmt: skip

    def logits(part: Any, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
        return part[0] @ weight.T + bias + part[1]

    old, new = (own.weights.weight, own.weights.bias), (tuned["weight"], tuned["bias"])
    return tuned | {
        "method": "head", "adapter": None, "told": {"trunk_hash": _file_hash(run.body)}, "batch": batch,
        "held_logits": logits(parts[1], *new), "held_before": logits(parts[1], *old),
        "guard_logits": logits(parts[2], *new), "guard_before": logits(parts[2], *old),
    }  # fmt: skip


def _file_hash(body: FrozenBody) -> dict[str, Any]:
    """A head alone never opens the trunk's weights: its file is compared with its manifest."""
    before = body.manifest["files"]["body"]["sha256"]
    after = artifacts.digest(artifacts.file_of(body.directory, body.manifest, "body"))
    return {"before": before, "after": after, "equal": before == after}


# ------------------------------------------------------------------------------------------------ judging


def _judged(own: Prepared, made: dict[str, Any]) -> dict[str, Any]:
    """Before and after on the same rows. What was shipped chooses among its own labels only; nothing answered a new workload."""
    was = right_of(made["held_before"], own.held, own.known)
    now = right_of(made["held_logits"], own.held, len(own.labels))
    report: dict[str, Any] = {
        "before": {**wilson(int(was.sum()), len(was)).as_dict(), "n": len(was)},
        "after": {**wilson(int(now.sum()), len(now)).as_dict(), "n": len(now)},
        "paired_difference": paired_difference(now, was).as_dict(),
        "most_frequent_label": round(float(np.bincount(own.held.y).max() / len(own.held)), 4),
    }
    if len(own.guard):
        report["shipped_validation"] = {
            "before": round(float(right_of(made["guard_before"], own.guard, own.known).mean()), 4),
            "after": round(float(right_of(made["guard_logits"], own.guard, len(own.labels)).mean()), 4),
            "n": len(own.guard),
        }
    return report


def right_of(logits: np.ndarray, part: Part, labels: int) -> np.ndarray:
    """Which rows are right, choosing among the first `labels` labels; none where there is no label yet. Gives (N,) of bool."""
    if not labels:
        return np.zeros(len(part), bool)
    return logits[:, :labels].argmax(axis=1) == part.y
