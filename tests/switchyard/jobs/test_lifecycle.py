import itertools

import pytest

from switchyard.core.errors import Conflict
from switchyard.jobs.lifecycle import MOVES, check_move, is_final
from switchyard.jobs.models import FINAL, STATES

ALLOWED = {
    ("queued", "running"), ("queued", "paused"), ("queued", "cancelled"), ("queued", "quarantined"),
    ("running", "succeeded"), ("running", "failed"), ("running", "cancelled"), ("running", "paused"),
    ("running", "queued"), ("running", "quarantined"), ("paused", "queued"), ("paused", "cancelled"),
    ("failed", "queued"), ("cancelled", "queued"), ("quarantined", "queued"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new"), itertools.product(STATES, STATES))
def test_only_the_moves_of_the_picture_are_legal(old, new):
    if (old, new) in ALLOWED:
        check_move(old, new)
    else:
        with pytest.raises(Conflict) as refused:
            check_move(old, new)
        assert refused.value.code == "illegal_state"


def test_who_asks_twice_is_told_that_it_is_so_already():
    with pytest.raises(Conflict, match="This job is cancelled already"):
        check_move("cancelled", "cancelled")
    with pytest.raises(Conflict, match="succeeded can't become cancelled; it has ended"):
        check_move("succeeded", "cancelled")


def test_every_state_has_its_moves_and_a_success_is_the_end():
    assert set(MOVES) == set(STATES)
    assert MOVES["succeeded"] == frozenset()
    assert [state for state in STATES if is_final(state)] == [state for state in STATES if state in FINAL]
