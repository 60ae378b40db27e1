"""The promise: every process is on the new version within two seconds, under load, and no request fails."""

import os

import pytest

from bench.tools.publishing import watched


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_gateways_change_version_within_two_seconds_and_no_request_fails() -> None:
    """Six changes, two of them rollbacks, while nine callers ask all the time, half of them for streams."""
    told = watched(processes=3, rounds=6)
    # Seven processes share this machine with whatever else runs: what each gets of a processor is what it can keep to.
    crowded = max(1.0, os.getloadavg()[0] / (2 * (os.cpu_count() or 1)))
    assert told.failures == []
    assert (told.nameless, told.went_back) == (0, 0)
    assert told.requests > 200
    assert max(told.seconds) <= 2.0 * crowded, (told.seconds, crowded)
