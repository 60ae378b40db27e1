"""Who goes first: a child's niceness, and its session's group where Linux groups."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from switchyard.supervisor.children import Child, Spec
from switchyard.supervisor.priority import AUTOGROUP, step_back

CODE = """
import os, sys
from pathlib import Path
from switchyard.supervisor.priority import step_back
print(step_back(7, Path(sys.argv[1])), os.nice(0))
"""


def stepped_back(group: Path, *, own_session: bool) -> list[str]:
    """In a process of its own: niceness can't be taken back.

    A shared session is a shell's that waits for its child: the tests' own may be a container's only one.
    """
    command = [sys.executable, "-c", CODE, str(group)]
    if not own_session:
        command = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        start_new_session=True,
        env={"PYTHONPATH": "platform:."},
    )
    return done.stdout.split()


def test_a_session_of_its_own_is_lowered_as_a_whole(tmp_path):
    before = os.nice(0)
    assert stepped_back(tmp_path / "group", own_session=True) == ["True", str(min(19, before + 7))]
    assert (tmp_path / "group").read_text() == "7"


def test_a_session_shared_with_others_is_left_alone(tmp_path):
    assert stepped_back(tmp_path / "group", own_session=False)[0] == "False"
    assert not (tmp_path / "group").exists()


def test_where_nothing_is_grouped_nice_alone_has_to_do(tmp_path):
    assert stepped_back(tmp_path / "no" / "group", own_session=True)[0] == "False"
    assert step_back(0, tmp_path / "group") is False


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="this kernel doesn't group sessions")
def test_a_child_that_is_ready_goes_behind_the_others(tmp_path):
    class Nobody:
        def add(self, group): ...
        def remove(self, group): ...

    def standing() -> list[str]:
        group = Path(f"/proc/{child.pid}/autogroup").read_text().split()[-1]
        return [str(os.getpriority(os.PRIO_PROCESS, child.pid)), group]

    command = (sys.executable, "-S", "-c", "import time; time.sleep(60)")
    child = Child(Spec("sleeper", command, nice=15), tmp_path, Nobody())
    child.start()
    try:
        assert standing() == [str(os.nice(0)), "0"]
        child.settle()
        assert standing() == ["15", "15"]
    finally:
        child.end_now()
    child.settle()  # of one that has ended: nothing to do
