"""Decisions in tables: unequal false alarms are found with their size, equal ones aren't accused, small cells aren't shown."""

import numpy as np
import pytest

from modelhub.ml.fairness import tables


def decisions(seed, alarms_a, alarms_b, n=2000):
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], n)
    truth = (rng.random(n) < 0.4).astype(int)
    alarm = np.where(group == "a", alarms_a, alarms_b)
    selected = np.where(truth == 1, rng.random(n) < 0.7, rng.random(n) < alarm).astype(int)
    return selected, truth, {"kind": group}


def test_unequal_false_alarms_fail_and_hits_that_are_equal_do_not():
    selected, truth, groups = decisions(0, 0.45, 0.2, n=6000)
    report = tables.audit(selected, truth, groups)
    row = next(r for r in report["gaps"] if (r["group"], r["kind"]) == ("a", "false alarms"))
    assert (
        row["verdict"] == "fail" and row["gap"]["low"] < 0.25 < row["gap"]["high"] and row["p_holm"] < 0.001
    )
    assert all(r["verdict"] != "fail" for r in report["gaps"] if r["kind"] == "hits")
    assert report["verdict"] == "fail" and report["parity"]["kind"]["equalized_odds_difference"] > 0.2


def test_equal_groups_are_not_accused():
    accused = sum(tables.audit(*decisions(seed, 0.25, 0.25))["verdict"] == "fail" for seed in range(40))
    assert accused <= 1


def test_small_cells_are_not_shown_and_no_truth_means_no_error_rates():
    selected, truth, groups = decisions(1, 0.3, 0.3)
    groups["kind"] = groups["kind"].astype(object)
    groups["kind"][:9] = "c"
    report = tables.audit(selected, truth, groups)
    tiny = [r for r in report["gaps"] if r["group"] == "c"]
    assert {r["n"] for r in tiny} == {None} and all("rate" not in r for r in tiny)
    assert all(row["category"] != "c" for row in report["impact"]["kind"])
    without = tables.audit(selected, None, groups)
    assert without["gaps"] == [] and "verdict" not in without


def test_without_the_data_the_examples_say_what_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("SWITCHYARD_DATA", raising=False)
    with pytest.raises(SystemExit):
        tables.main()
    assert "SWITCHYARD_DATA" in capsys.readouterr().err
