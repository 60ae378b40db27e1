"""The spool: on disk before the answer ends, gone once acknowledged, replayed when its process died."""

import os
import signal
import subprocess
import sys

import pytest

from costs.spool import Spool, SpoolFull, replay


def lines(folder):
    return b"".join(p.read_bytes() for p in sorted(folder.iterdir())).splitlines()


def test_an_appended_event_is_on_disk_at_once(tmp_path):
    spool = Spool(tmp_path)
    spool.append({"event_id": "e1", "facts": {"entities": frozenset({"b", "a"})}})
    assert lines(tmp_path) == [b'{"event_id":"e1","facts":{"entities":["a","b"]}}']


def test_files_rotate_and_leave_when_all_their_events_are_acknowledged(tmp_path):
    spool = Spool(tmp_path, rotate_bytes=200)
    for i in range(40):
        spool.append({"event_id": f"e{i}", "fill": "x" * 20})
    assert len(list(tmp_path.iterdir())) > 3
    spool.acknowledge(f"e{i}" for i in range(40))
    assert len(list(tmp_path.iterdir())) == 1
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_busy_file_is_emptied_when_nothing_in_it_waits(tmp_path):
    spool = Spool(tmp_path, rotate_bytes=1000)
    for i in range(100):
        spool.append({"event_id": f"e{i}", "fill": "x" * 20})
        spool.acknowledge([f"e{i}"])
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 1000


def test_it_is_bounded(tmp_path):
    spool = Spool(tmp_path, max_bytes=50)
    spool.append({"event_id": "e1", "fill": "x" * 60})
    with pytest.raises(SpoolFull):
        spool.append({"event_id": "e2"})


def test_a_living_process_is_left_alone_and_a_killed_one_is_replayed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from costs.spool import Spool\n"
        "s = Spool(Path(sys.argv[1]))\n"
        "for i in range(7): s.append({'event_id': f'e{i}'})\n"
        "print('written', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(["platform", "."])}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    )
    process.stdout.readline()
    batches = []
    assert replay(tmp_path, batches.append) == 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert replay(tmp_path, batches.append, batch=5) == 7
    assert [[e["event_id"] for e in b] for b in batches] == [["e0", "e1", "e2", "e3", "e4"], ["e5", "e6"]]
    assert list(tmp_path.iterdir()) == []


def test_a_torn_last_line_is_skipped_and_a_failed_delivery_keeps_the_file(tmp_path):
    (tmp_path / "1-1-1.jsonl").write_bytes(b'{"event_id":"e1"}\n{"event_id":"e2"')

    def refuse(batch):
        raise RuntimeError("database is away")

    with pytest.raises(RuntimeError):
        replay(tmp_path, refuse)
    batches = []
    assert replay(tmp_path, batches.append) == 1
    assert batches == [[{"event_id": "e1"}]]
