"""The copied data sets: what the loader gives, and that each folder carries its notice."""

import pytest

from modelhub.ml import datasets
from modelhub.ml.text.corpus import folds, spread


def test_every_workload_has_train_and_validation_rows_with_known_labels():
    for workload in datasets.TEXT_WORKLOADS:
        train, val = datasets.load(workload, "train"), datasets.load(workload, "val")
        assert len(train) > len(val) > 0
        assert set(val.labels) <= set(datasets.label_names(workload))
        assert not set(train.texts) & set(val.texts)


def test_clauses_of_several_types_are_left_out():
    assert not any("|" in label for label in datasets.label_names("contract-clauses"))
    assert "oos" in datasets.label_names("assistant-intent")


def test_an_unknown_workload_is_named():
    with pytest.raises(KeyError, match="no-such"):
        datasets.load("no-such")


def test_every_copied_set_names_its_source_licence_and_changes():
    folders = [source.folder for source in datasets.TEXT_SETS.values()]
    for folder in [*folders, "cold_zh", "offensive_tweets", "hatecheck"]:
        notice = (datasets.DATA / folder / "NOTICE.md").read_text("utf-8")
        assert all(word in notice for word in ("Source:", "Licence:", "Changes:"))
        assert f"`{folder}/`" in (datasets.DATA / "README.md").read_text("utf-8")


def test_folds_hold_every_row_once_and_spread_rare_labels():
    import numpy as np

    y = np.array([0] * 50 + [1] * 5)
    held = folds(y, 5, seed=0)
    assert sorted(np.concatenate(held).tolist()) == list(range(55))
    assert all((y[part] == 1).sum() == 1 for part in held)


def test_a_small_part_takes_labels_in_turn():
    assert [list("aaabbc")[i] for i in spread(list("aaabbc"), 4)] == ["a", "b", "c", "a"]
