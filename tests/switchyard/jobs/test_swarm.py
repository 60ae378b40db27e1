"""Many jobs, workers killed while they work: each job ends once, has its effect once, is paid once, and nobody starves."""

import pytest

from bench.tools.job_swarm import swarm


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_workers_leave_each_effect_once(tmp_path):
    found = swarm(tmp_path, jobs=24, workers=2, kills=3, seed=7, pause_s=3.0)
    assert found["states"] == {"succeeded": 24}, found
    assert found["ended_not_once"] == found["effect_not_once"] == found["wrong_money"] == [], found
    assert found["kills"] >= 1
    assert max(found["neighbours_begun_as"]) <= 12, (
        "the neighbours' two jobs don't wait for the others' twenty-two"
    )
