import os
from collections import Counter

import pytest

from switchyard.core.ids import _DECODE, id_time_ms, new_id


def test_ids_sort_by_time_and_tell_it():
    early, late = new_id("req", at_ms=1_700_000_000_000), new_id("req", at_ms=1_700_000_000_001)
    assert early < late
    assert id_time_ms(early) == 1_700_000_000_000


def test_a_thousand_ids_of_one_millisecond_differ():
    assert len({new_id("dec", at_ms=5) for _ in range(1000)}) == 1000


def test_every_character_of_the_random_half_is_drawn_alike():
    told = Counter(char for _ in range(2000) for char in new_id("x", at_ms=5)[-16:])
    assert set(told) == set(_DECODE) and min(told.values()) > 700 < max(told.values()) < 1300


def test_a_child_process_gives_other_ids_than_its_parent():
    new_id("x")  # the next ones are drawn already
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, "".join(new_id("x", at_ms=5) for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 65536).decode()
    os.close(reader)
    os.close(writer)
    assert len(theirs) == 50 * 28 and not any(new_id("x", at_ms=5) in theirs for _ in range(300))


def test_a_foreign_id_is_refused():
    with pytest.raises(ValueError):
        id_time_ms("chatcmpl-123")
