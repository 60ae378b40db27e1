import pytest

from switchyard.core.ids import id_time_ms, new_id


def test_ids_sort_by_time_and_tell_it():
    early, late = new_id("req", at_ms=1_700_000_000_000), new_id("req", at_ms=1_700_000_000_001)
    assert early < late
    assert id_time_ms(early) == 1_700_000_000_000


def test_a_thousand_ids_of_one_millisecond_differ():
    assert len({new_id("dec", at_ms=5) for _ in range(1000)}) == 1000


def test_a_foreign_id_is_refused():
    with pytest.raises(ValueError):
        id_time_ms("chatcmpl-123")
