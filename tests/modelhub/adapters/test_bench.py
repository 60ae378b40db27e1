"""What the benchmarks of adapters compare: time to the highest value both reached, and whole names found."""

import json

import numpy as np
import pytest

from bench import bias, common
from bench.tools.adapters_common import first_reaching, share
from bench.tools.adapters_medical import names


def curve(*points):
    return [{"cpu_s": seconds, "value": value} for seconds, value in points]


def test_the_share_is_at_the_highest_value_that_both_reached():
    ours, theirs = curve((1, 0.5), (2, 0.8), (3, 0.9)), curve((10, 0.6), (20, 0.85), (30, 0.82))
    assert first_reaching(theirs, 0.85) == 20.0 and first_reaching(theirs, 0.9) is None
    assert share(ours, theirs) == (pytest.approx(3 / 20), 0.85)  # not 2 / 20: at 2 s ours had only 0.8
    assert share(theirs, ours)[0] == pytest.approx(20 / 3)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ([0, 1, 2, 0, 1], {(1, 3), (4, 5)}),
        ([1, 1, 2], {(0, 1), (1, 3)}),
        ([0, 2, 2], {(1, 3)}),
        ([0, 0], set()),
    ],
)
def test_names_are_whole_spans(tags, spans):
    assert names(np.array(tags)) == spans


def test_one_part_measured_again_leaves_the_other_rows_as_they_stood(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "ROOT", tmp_path.parent)
    first = common.Results("bias")
    first.add("leaked_characters", [0.0], "", "streams", at_most=0)
    first.not_run("resume_hash_equal", "%", "no time")
    first.write()
    monkeypatch.setattr(
        bias,
        "resume_row",
        lambda results: results.add("resume_hash_equal", [100.0], "%", "kills", at_least=100),
    )
    common.refresh(bias.measured(["resume_row"]), ["resume_row"])
    told = json.loads((tmp_path / "bias.json").read_text())
    assert [(row["metric"], row["value"], row["met"]) for row in told["rows"]] == [
        ("leaked_characters", 0.0, True), ("resume_hash_equal", 100.0, True),
    ]  # fmt: skip
    assert set(told["refreshed"]) == {"resume_row"}
    with pytest.raises(ValueError, match="no part magic"):
        bias.measured(["magic"])
