"""The replayed traffic has the trace's shape, the asked-for size, and is the same each time."""

from collections import Counter

from switchyard.demo import company
from switchyard.demo.history import traffic_of
from switchyard.demo.traffic import REQUESTS, WEEK_S, WINDOW_S, arrivals, read_trace, window_of_week

END_S = 1_795_490_400
ROWS = dict.fromkeys(REQUESTS, 50)


def plan(**changes):
    return arrivals(**({"end_s": END_S, "client_of": traffic_of(), "rows_of": ROWS} | changes))


def test_it_is_at_least_twenty_thousand_requests_of_fourteen_days_oldest_first():
    found = plan()
    assert len(found) == sum(REQUESTS.values()) >= 20_000
    times = [a.at_ms for a in found]
    assert times == sorted(times)
    assert times[0] >= (END_S - 14 * 86_400) * 1000 and times[-1] < END_S * 1000
    assert [a.number for a in found] == list(range(len(found)))
    assert Counter(a.workload for a in found) == Counter(REQUESTS)


def test_it_is_the_same_at_every_replay():
    assert plan() == plan()
    assert plan(seed=1) != plan(seed=2)


def test_its_weeks_follow_the_traces_rates():
    client = company.LOBS[0].traffic
    rates = {window: rate for window, (rate, _) in read_trace()[client].items()}
    counts = Counter(
        window_of_week(a.at_ms // 1000) for a in plan(requests=REQUESTS | {"support-intent": 100_000})
        if a.workload == "support-intent"
    )  # fmt: skip
    whole = sum(rates.values())
    for window in (0, 300, 700):
        expected = 100_000 * rates[window] / whole
        assert abs(counts[window] - expected) <= 2 + 0.02 * expected


def test_a_weeks_windows_start_on_monday():
    monday = 1_795_392_000 - (1_795_392_000 - 4 * 86_400) % WEEK_S
    assert window_of_week(monday) == 0
    assert window_of_week(monday - 1) == WEEK_S // WINDOW_S - 1


def test_no_row_is_asked_again_before_all_were_asked():
    asked = [a.row for a in plan() if a.workload == "clinical-notes"]
    counts = Counter(asked)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_workload_without_rows_has_no_traffic():
    assert not [a for a in plan(rows_of=ROWS | {"code-assist": 0}) if a.workload == "code-assist"]
