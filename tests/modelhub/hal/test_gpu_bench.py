"""The GPU benchmark's own promises: a crash or a hang costs one case, and a machine without a GPU wipes nothing out."""

import json
import subprocess
import sys
import time

import pytest

from bench import gpu
from bench.tools.gpu_ceilings import Ceilings
from bench.tools.gpu_experts import BANKS, floors
from bench.tools.gpu_journal import Journal, read
from bench.tools.gpu_profile import capability_profile
from modelhub.hal.profile import CapabilityProfile

# Three cases; the second takes the process with it, as a kernel that writes out of bounds does.
CRASHING = """
import json, os, sys
from pathlib import Path
from bench.tools.gpu_journal import Journal
path, skip = Path(sys.argv[1]), frozenset(json.loads(sys.argv[2]))
journal = Journal(path, skip=skip)
journal.say("ceilings")
journal.case("first", lambda: journal.row("first_ms", [1.0, 3.0, 2.0], "ms", "tried", at_most=2.5))
journal.case("second", lambda: os._exit(9))
journal.case("third", lambda: journal.row("third_ms", [5.0], "ms", "tried", control=True))
journal.say("done")
"""


class Crashing(gpu.Run):
    """A run whose processes are the script above."""

    def start(self, part, journal, shard="0/1", limit_s=1e9):
        if journal not in self.journals:
            self.journals.append(journal)
            self.skip[journal] = set()
        skip = json.dumps(sorted(self.skip[journal]))
        return subprocess.Popen([sys.executable, "-c", CRASHING, str(journal), skip], cwd=gpu.ROOT)


@pytest.mark.parametrize("device", ["cpu", "cuda"])  # with CUDA the conformance processes crash as well
def test_a_case_that_takes_its_process_with_it_costs_its_own_figure_only(device, tmp_path):
    run = Crashing(tmp_path / "out", 60, device, "")
    gpu.measure(run, tmp_path)
    body = json.loads(run.write().read_text())
    found = {row["metric"]: row for row in body["rows"] + body["controls"]}
    assert (found["first_ms"]["value"], found["first_ms"]["low"], found["first_ms"]["high"]) == (
        2.0,
        1.0,
        3.0,
    )
    assert found["first_ms"]["met"] is True and found["third_ms"]["value"] == 5.0
    assert len(run.journals) == (1 if device == "cpu" else 1 + gpu.shard_count())
    assert "ended with 9" in found["failed_second"]["how"]
    assert found["gpu_copy_gb_s"]["value"] is None and found["gpu_copy_gb_s"]["met"] is None


def test_an_error_ends_its_case_and_no_case_is_begun_after_the_deadline(tmp_path):
    path = tmp_path / "lines.jsonl"
    journal = Journal(path, skip=frozenset({"known"}), deadline=time.time() + 60)
    journal.case("known", lambda: journal.say("must not be run"))
    journal.case("bad", lambda: 1 / 0)
    journal.case("good", lambda: None)
    Journal(path, deadline=time.time() - 1).case("late", lambda: journal.say("must not be run"))
    said = [(line["event"], line.get("case")) for line in read(path)]
    assert said == [
        ("begin", "bad"), ("error", "bad"), ("end", "bad"), ("begin", "good"), ("end", "good"), ("late", "late"),
    ]  # fmt: skip


def test_a_lost_gpu_stops_the_process_so_that_a_new_one_goes_on(tmp_path):
    journal = Journal(tmp_path / "lines.jsonl")

    def gone():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        journal.case("gone", gone)


def test_a_machine_without_a_gpu_says_why_and_keeps_what_one_with_a_gpu_measured(tmp_path, capsys):
    run = gpu.Run(tmp_path, 60, "cuda", "")
    journal = tmp_path / "lines.jsonl"
    Journal(journal).say("absent", why="torch was built without CUDA")
    run.journals.append(journal)
    rows = json.loads(run.write().read_text())["rows"]
    assert rows and all(row["met"] is None and row["value"] is None for row in rows)
    assert all("torch was built without CUDA" in row["how"] for row in rows)
    kept = json.dumps({"machine": {"gpu": {"name": "A card"}}, "started": "2026-01-01", "rows": [1]})
    (tmp_path / "gpu.json").write_text(kept)
    assert run.write().read_text() == kept
    assert "A card" in capsys.readouterr().out


def test_floors_are_the_larger_of_bytes_and_operations_worked_by_hand():
    ceilings = Ceilings({"copy_gb_s": 4000.0, "matmul_bfloat16": 800_000.0})
    # 4e9 bytes at 4 TB/s take 1 ms; 8e11 operations at 800 TFLOP/s take 1 ms
    assert ceilings.floor_ms(0.0, 4e9, "bfloat16") == pytest.approx(1.0)
    assert ceilings.floor_ms(16e11, 4e9, "bfloat16") == pytest.approx(2.0)
    assert ceilings.floor_ms(1.0, 1.0, "float32") is None
    bank = BANKS[0]  # 16 experts of 512 × 512, two a token: one token reads an eighth of the weights
    sparse, dense = floors(bank, 1, "bfloat16", ceilings)
    assert dense / sparse == pytest.approx(8.0, rel=0.01)
    sparse, dense = floors(
        bank, 64, "bfloat16", ceilings
    )  # 64 tokens touch every expert: nothing is left to win
    assert dense / sparse == pytest.approx(1.0, rel=0.01)


def test_the_measured_profile_is_one_the_registry_of_devices_reads():
    facts = {
        "device": {"name": "NVIDIA H200", "memory_bytes": 150 << 30, "multiprocessors": 132, "l2_bytes": 1, "capability": "9.0",
                   "torch": "2.11", "cuda": "13.0"},
        "copy_gb_s": 4300.0, "matmul_bfloat16": 790e3, "matmul_float32": 51e3,
    }  # fmt: skip
    body = capability_profile(facts)
    assert body is not None and body["id"] == "nvidia-h200-measured"
    profile = CapabilityProfile.from_dict({key: value for key, value in body.items() if key != "id"})
    assert profile.origin == "measured" and not profile.simulated and profile.tf32
    assert profile.speed("bfloat16") == 790e3 and profile.speed("float16") is None
    assert capability_profile({"device": facts["device"]}) is None
