"""A kill -9 of the supervisor leaves nobody behind, grandchildren included."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = textwrap.dedent(
    """
    import sys, time
    from pathlib import Path
    from switchyard.supervisor.children import Child, Spec
    from switchyard.supervisor.orphans import Watchdog
    watchdog = Watchdog()
    code = (
        "import subprocess, sys, time;"
        "from signal import *; signal(SIGTERM, SIG_IGN) if {stubborn} else None;"
        "p = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
        " signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)']);"
        "print(p.pid, flush=True); time.sleep(600)"
    )
    child = Child(Spec("sleeper", (sys.executable, "-c", code)), Path(sys.argv[1]), watchdog)
    child.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not child.log.last(1):
        time.sleep(0.05)
    print(child.pid, child.log.last(1)[0], flush=True)
    time.sleep(600)
    """
)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_killed_supervisor_takes_children_and_grandchildren_with_it(tmp_path, stubborn):
    env = {**os.environ, "PYTHONPATH": "platform:."}
    program = [sys.executable, "-c", PROGRAM.replace("{stubborn}", str(stubborn)), str(tmp_path)]
    boss = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=env)
    assert boss.stdout is not None
    pids = [int(word) for word in boss.stdout.readline().split()]
    assert len(pids) == 2 and all(_lives(pid) for pid in pids)
    os.kill(boss.pid, signal.SIGKILL)
    boss.wait()
    deadline = time.monotonic() + 8
    while any(_lives(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if _lives(pid)]
