"""Fine-tuning on the shipped trunk: by each method, for a known workload and for a new one; what is served of it."""

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.adapters import finetune
from modelhub.ml.adapters.finetune import Options, TooFewRows, fine_tune
from modelhub.ml.adapters.rows import prepare
from modelhub.ml.trunk import ensure_trunk
from modelhub.serving.errors import ModelRefused
from modelhub.serving.runners.text import TextClassifier

BASE = artifacts.SHIPPED / "txt-base"
ROWS = [
    (f"{text} {number}", label)
    for number in range(14)
    for text, label in (
        ("the parcel went to the wrong depot", "logistics"),
        ("please pay out the bonus for May", "payroll"),
        ("the crane on line stands still", "maintenance"),
    )
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    place = tmp_path_factory.mktemp("home")
    ensure_trunk(place)
    return place


@pytest.fixture
def own_home(home, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(home))
    return home


def tune(home, name, method, **options):
    where = {
        key: options.pop(key)
        for key in ("checkpoint_dir", "progress", "should_stop", "validation", "lob")
        if key in options
    }
    return fine_tune(
        BASE, name.partition("@")[0], ROWS, out_dir=home / "artifacts" / "txt-base" / "heads" / name, trunk_dir=home / "trunk",
        options=Options(method=method, **{"blocks": 1, "epochs": 2, "seed": 3} | options), **where,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(home):
    """One artifact by each method: a new workload by LoRA and by expert, a known one by LoRA, a head alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWITCHYARD_HOME", str(home))
        return {
            "returns-intent@ft-l": tune(home, "returns-intent@ft-l", "lora", lob="acme/returns"),
            "returns-intent@ft-e": tune(home, "returns-intent@ft-e", "expert"),
            "support-sentiment@ft-l": tune(home, "support-sentiment@ft-l", "lora", epochs=1),
            "returns-intent@ft-h": tune(home, "returns-intent@ft-h", "head", epochs=20),
        }


@pytest.fixture(scope="module")
def served(home, made):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWITCHYARD_HOME", str(home))
        yield TextClassifier(BASE, trunk_dir=home / "trunk")


def test_a_new_workload_is_learned_and_the_trunk_is_the_same_before_and_after(home, made):
    report = made["returns-intent@ft-l"]
    assert report["after"]["value"] > 0.8 > report["before"]["value"] == 0.0
    assert report["most_frequent_label"] < 0.8
    assert report["trunk_hash"]["equal"] and report["trunk_hash"]["before"] == report["trunk_hash"]["after"]
    manifest = artifacts.verify(home / "artifacts" / "txt-base" / "heads" / "returns-intent@ft-l")
    assert (
        manifest["adapter"] == {"method": "lora", "blocks": 1, "rank": 8}
        and manifest["lob"] == "acme/returns"
    )
    assert manifest["body_sha256"] == artifacts.load_manifest(BASE)["files"]["body"]["sha256"]
    assert manifest["trunk_hash"] == report["trunk_hash"]
    assert report["adapter"]["share_of_trunk"] < 0.01


def test_what_was_trained_in_torch_is_what_the_served_graph_answers(made):
    for name in ("returns-intent@ft-l", "returns-intent@ft-e"):
        beside = made[name]["served"]
        assert beside["agreement"] >= 0.9 and beside["n"] == 10


def test_old_labels_are_rehearsed_for_a_known_workload(made):
    report = made["support-sentiment@ft-l"]
    assert report["labels_added"] == ["logistics", "maintenance", "payroll"]
    assert report["rows"]["rehearsed"] > 0
    assert report["shipped_validation"]["after"] > report["shipped_validation"]["before"] - 0.1


def test_reading_the_rows_is_told_batch_by_batch(own_home):
    told = []
    tune(own_home, "returns-intent@ft-told", "head", epochs=1, progress=told.append)
    done = [
        step["done"] for step in told if step["stage"] == "features" and step["rows"] == 32 and "done" in step
    ]
    assert 32 in done and done == sorted(done)
    graph = finetune.FrozenBody(BASE, own_home / "trunk")
    seen: list[tuple[int, int]] = []
    graph.features([text for text, _ in ROWS] * 4, lambda count, of: seen.append((count, of)))
    assert len(seen) >= 2 and seen[-1] == (168, 168), "a run over thousands of rows never stands still"


def test_few_rows_get_a_head_alone_and_the_report_says_why(own_home):
    report = tune(own_home, "returns-intent@ft-a", "auto")
    assert report["method"] == "head" and "under 400" in report["method_because"]


def test_with_enough_rows_an_adapter_is_kept_only_where_held_back_rows_gain(own_home, monkeypatch):
    monkeypatch.setattr(finetune, "ENOUGH_ROWS", 20)
    monkeypatch.setattr(finetune, "ENOUGH_PER_LABEL", 5)
    report = tune(own_home, "returns-intent@ft-b", "auto")
    assert "held-back loss" in report["method_because"] and {"head_alone", "expert", "lora"} <= set(report)
    told = report["method_because"].removeprefix("held-back loss ").split(", ")
    losses = {words.partition(" ")[2]: float(words.partition(" ")[0]) for words in told}
    assert list(losses) == ["by the head alone", "with an expert in the topmost block", "with LoRA"]
    best = min(losses, key=losses.__getitem__)
    assert (
        report["method"]
        == {"by": "head", "with an": "expert", "with LoRA": "lora"}[
            next(start for start in ("by", "with an", "with LoRA") if best.startswith(start))
        ]
    )


def test_the_graph_is_run_once_over_the_rows_whatever_is_tried_on_them(own_home, monkeypatch):
    from modelhub.ml.adapters import inside

    monkeypatch.setattr(finetune, "ENOUGH_ROWS", 20)
    monkeypatch.setattr(finetune, "ENOUGH_PER_LABEL", 5)
    runs: list[int] = []
    once = inside.see_once
    monkeypatch.setattr(inside, "see_once", lambda *a, **k: runs.append(len(a[2])) or once(*a, **k))
    monkeypatch.setattr(finetune.FrozenBody, "features", lambda *a: pytest.fail("run a second time"))
    tune(own_home, "returns-intent@ft-once", "auto", epochs=1)
    assert runs == [32, 10, 0]  # to learn from, held back; a new workload has no shipped rows to guard


def test_one_batch_mixes_adapters_heads_and_plain_rows(served, made):
    heads = [*made, "support-intent", "returns-intent@ft-l"]
    texts = [
        "the crane on line stands still",
        "please pay out the bonus",
        "I love it",
        "the parcel",
        "my card?",
        "bonus for May",
    ]
    mixed = served.classify_mixed(heads, texts)
    for head, text, row in zip(heads, texts, mixed, strict=True):
        alone = served.classify(head, [text])
        assert row.label == alone.labels[0]
        # in 8 bits a text's scores depend a little on its batch, adapter or not; float32 is held to 1e-5 elsewhere
        assert np.abs(row.scores - alone.scores[0]).max() < 0.1
    assert mixed[0].label == "maintenance"


def test_adapters_in_memory_are_named_and_let_go(served):
    names = [one["name"] for one in served._inside.held()]
    assert set(names) == {"returns-intent@ft-l", "returns-intent@ft-e", "support-sentiment@ft-l"}
    assert served._inside.places_of(["support-intent", "returns-intent@ft-h"]) == [0, 0]


def test_an_adapter_asked_for_by_another_workloads_name_is_refused(own_home, made):
    import shutil

    heads = own_home / "artifacts" / "txt-base" / "heads"
    shutil.copytree(heads / "returns-intent@ft-l", heads / "support-intent@ft-stolen", dirs_exist_ok=True)
    runner = TextClassifier(BASE, trunk_dir=own_home / "trunk")
    with pytest.raises(ModelRefused, match="another|made for the workload"):
        runner.classify("support-intent@ft-stolen", ["hello"])


def test_an_adapter_of_another_trunk_is_refused_and_says_so(own_home, made):
    import json
    import shutil

    heads = own_home / "artifacts" / "txt-base" / "heads"
    folder = shutil.copytree(
        heads / "returns-intent@ft-l", heads / "returns-intent@ft-other", dirs_exist_ok=True
    )
    told = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(told | {"body_sha256": "0" * 64}))
    runner = TextClassifier(BASE, trunk_dir=own_home / "trunk")
    with pytest.raises(ModelRefused) as refused:
        runner.classify("returns-intent@ft-other", ["hello"])
    assert refused.value.code == "adapter_of_another_trunk"


def test_a_stopped_job_writes_nothing_and_goes_on_to_the_same_weights(own_home, made):
    told: list[dict] = []
    options = {"checkpoint_dir": own_home / "ckpt", "lob": "acme/returns"}
    cut = tune(
        own_home, "returns-intent@ft-cut", "lora", progress=told.append,
        should_stop=lambda: any(one.get("new") for one in told), **options,
    )  # fmt: skip
    folder = own_home / "artifacts" / "txt-base" / "heads" / "returns-intent@ft-cut"
    assert cut["stopped"] and not folder.exists()
    whole = tune(own_home, "returns-intent@ft-cut", "lora", **options)
    assert whole["weight_hash"] == made["returns-intent@ft-l"]["weight_hash"]


def test_rows_given_to_judge_by_are_judged_by(own_home):
    report = tune(
        own_home,
        "returns-intent@ft-v",
        "head",
        validation=[("the parcel", "logistics"), ("the bonus", "payroll")],
    )
    assert report["rows"] == {"train": len(ROWS), "validation": 2, "rehearsed": 0}
    assert report["after"]["n"] == 2


def test_nonsense_is_refused_by_name():
    for options, words in (
        ({"method": "magic"}, "method"), ({"epochs": 0}, "epochs"), ({"batch_size": 5000}, "batch_size"),
        ({"learning_rate_multiplier": 0}, "learning_rate_multiplier"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            Options(**options)


def test_one_label_makes_no_classifier(own_home):
    rows = [(f"text {i}", "only") for i in range(12)]
    manifest = artifacts.load_manifest(BASE)
    with pytest.raises(TooFewRows, match="one label"):
        prepare(BASE, manifest, "returns-intent", rows, seed=0, trunk_dir=own_home / "trunk")


def test_it_computes_on_one_thread_and_gives_the_others_back():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="whatever ends it"), finetune.one_thread():
            assert torch.get_num_threads() == 1
            raise RuntimeError("whatever ends it")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
