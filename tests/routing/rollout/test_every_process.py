"""Every process comes to the new version under load, none goes back, and no request fails."""

import pytest

from bench.tools.publishing import watched


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_gateways_change_version_and_no_request_fails() -> None:
    """Six changes, two of them rollbacks, while nine callers ask all the time, half of them for streams."""
    told = watched(processes=3, rounds=6)
    assert told.failures == []
    assert (told.nameless, told.went_back) == (0, 0)
    assert told.requests > 200
    # The promise itself, two seconds, is measured by `make bench-policy` (publish_to_all_s); here nobody may stay behind.
    assert max(told.seconds) <= 20.0, told.seconds
