"""What Valkey answers, read: counters that a recovery took too much from refuse nobody."""

from costs.replies import granted
from costs.wire import wire
from tests.costs.asks import make_ask, make_budget


def test_a_counter_below_zero_is_told_as_it_is():
    """Given back twice, by the end of a lease and by a late settlement, until the ledger has set it right."""
    asked = make_ask(0, budgets=(make_budget(1e-6), make_budget(1e-5, id=2)))
    wired = wire(asked.budgets, (), 1_700_000_000)
    told = granted(asked, wired, ["ok", "", 0, [], [["-500", "-20"], ["-500", "-20"]], [], 0])
    assert dict(told.budget_used_ppm) == {"lob:legal": -52_000}
