"""Fine-tuning a head: it learns, it is judged on rows held back, and a cut run ends as an unbroken one."""

import pytest

from modelhub import artifacts
from modelhub.ml import datasets
from modelhub.ml.adapters import finetune

EDGE = artifacts.SHIPPED / "txt-edge"
ROWS = [
    (f"{number} {text}", label)
    for number in range(12)
    for text, label in (
        ("parcels went to the wrong depot", "logistics"),
        ("please pay out the bonus for May", "payroll"),
        ("the crane on line four stands still", "maintenance"),
    )
]


def tune(out, **options):
    return finetune.fine_tune_head(EDGE, "support-sentiment", ROWS, out_dir=out, seed=3, **options)


def test_accuracy_rises_on_rows_that_were_held_back(tmp_path):
    report = tune(tmp_path / "support-sentiment@ft-a", epochs=20)
    assert report["before"]["value"] == 0.0 and report["before"]["n"] == report["after"]["n"] == 9
    assert report["after"]["value"] > 0.7
    assert report["after"]["low"] < report["after"]["value"] <= report["after"]["high"]
    assert report["shipped_validation"]["after"] > report["shipped_validation"]["before"] - 0.1
    manifest = artifacts.verify(tmp_path / "support-sentiment@ft-a")
    assert manifest["kind"] == "text-head" and manifest["labels"][:2] == ["negative", "positive"]


def test_a_stopped_run_resumes_to_the_same_weights(tmp_path):
    whole = tune(tmp_path / "h@whole", epochs=6)
    told: list[dict] = []
    cut = tune(
        tmp_path / "h@cut",
        epochs=6,
        checkpoint_dir=tmp_path / "ckpt",
        progress=told.append,
        should_stop=lambda: sum("epoch" in report for report in told) >= 3,
    )
    assert cut["stopped"] and not (tmp_path / "h@cut").exists()
    resumed = tune(tmp_path / "h@cut", epochs=6, checkpoint_dir=tmp_path / "ckpt")
    assert resumed["weight_hash"] == whole["weight_hash"]
    assert resumed["curve"] == whole["curve"]


def test_a_broken_checkpoint_counts_as_none(tmp_path):
    whole = tune(tmp_path / "h@whole", epochs=3)
    tune(tmp_path / "h@one", epochs=2, checkpoint_dir=tmp_path / "ckpt")
    for file in (tmp_path / "ckpt").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])
    again = tune(tmp_path / "h@two", epochs=3, checkpoint_dir=tmp_path / "ckpt")
    assert again["weight_hash"] == whole["weight_hash"]


def test_auto_stops_when_the_held_back_loss_no_longer_falls(tmp_path):
    told: list[dict] = []
    report = tune(tmp_path / "h@auto", epochs="auto", progress=told.append)
    assert report["epochs"] <= finetune.AUTO_EPOCHS
    assert told[0]["stage"] == "features" and {"loss", "accuracy", "eta_s"} <= set(told[-1])


def test_too_few_rows_and_unknown_heads_are_refused(tmp_path):
    with pytest.raises(finetune.TooFewRows, match="at least 8"):
        finetune.fine_tune_head(EDGE, "support-sentiment", ROWS[:5], out_dir=tmp_path / "x")
    with pytest.raises(KeyError):
        finetune.fine_tune_head(EDGE, "nothing", ROWS, out_dir=tmp_path / "x")


def test_rows_held_back_are_never_rehearsed(tmp_path):
    shipped = datasets.load("support-sentiment", "train")
    rows = list(zip(shipped.texts[:40], shipped.labels[:40], strict=True))
    train, held = finetune.split_rows(rows, 0)
    assert len(held) == 10 and not set(train) & set(held)
