"""What a machine costs, worked by hand: rented, committed, bought; at night, across a change of clocks, at the end of a term."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.nodes.checks import bands_of, cost_faults, idle_faults
from costs.nodes.terms import Terms, add_months, bill_of, standard_bill
from costs.nodes.timeline import Dated, Timeline
from costs.pricing import Unpriced

USD = 1_000_000_000
HOUR = timedelta(hours=1)
NIGHT = [{"from": 22, "to": 6, "usd_per_kwh": "0.10"}]
BERLIN = ZoneInfo("Europe/Berlin")
CLOUD = Terms("v1", usd_per_hour=Decimal("2.50"))
# 24,000 − 2,000 over 48 × 730.5 h; 700 W × 1.4 = 0.98 kW, at $0.30 by day and $0.10 by night.
BOUGHT = Terms(
    "v1", capex_usd=Decimal(24_000), salvage_usd=Decimal(2_000), life_months=48, watts=700, pue=Decimal("1.4"),
    usd_per_kwh=Decimal("0.30"), tariff=bands_of(NIGHT), tariff_timezone="Europe/Berlin",
    rack_usd_per_month=Decimal("146.10"), people_usd_per_month=Decimal("730.50"),
)  # fmt: skip
PURCHASE = round(Fraction(22_000 * USD, 48 * 730) * Fraction(730 * 2, 1461))


def hour_of(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)


def bill(terms, start, end=None):
    return bill_of([(terms, start, end or start + HOUR)])


def day_of(terms, *date):
    """The 23, 24 or 25 hours of a local day, each billed by itself."""
    start = datetime(*date, tzinfo=BERLIN)
    end = (start + timedelta(days=1)).astimezone(UTC)
    hours, at = [], start.astimezone(UTC)
    while at < end:
        hours.append(bill(terms, at))
        at += HOUR
    return hours


def test_a_rented_node_costs_its_rate_and_by_seconds_where_part_of_an_hour_counts():
    assert bill(CLOUD, hour_of(2026, 3, 1, 5)).nusd == 2_500_000_000
    assert bill(CLOUD, hour_of(2026, 3, 1, 5), hour_of(2026, 3, 1, 5, 15)).nusd == 625_000_000


def test_two_rates_inside_an_hour_are_split_by_seconds():
    start, change = hour_of(2026, 3, 1, 5), hour_of(2026, 3, 1, 5, 20)
    dearer = Terms("v2", usd_per_hour=Decimal("4"))
    # 20 min × $2.50 + 40 min × $4 = 0.8333… + 2.6666… = 3.50
    assert bill_of([(CLOUD, start, change), (dearer, change, start + HOUR)]).nusd == 3_500_000_000


def test_a_bought_server_costs_purchase_less_salvage_over_its_life_and_the_power_of_the_local_hour():
    noon, night = bill(BOUGHT, hour_of(2026, 1, 15, 11)), bill(BOUGHT, hour_of(2026, 1, 15, 22))
    assert PURCHASE == 627_424_139  # 22,000 ÷ 35,064 h = $0.627424139
    assert noon.parts == {
        "cloud": 0, "purchase": PURCHASE, "power": 294_000_000, "rack": 200_000_000, "people": 1_000_000_000, "operations": 0,
    }  # fmt: skip
    assert noon.nusd == 2_121_424_139
    assert night.nusd == noon.nusd - 196_000_000  # 0.98 kW × $0.20 less


def test_bands_wrap_over_midnight_in_local_time():
    local = [hour.parts["power"] for hour in day_of(BOUGHT, 2026, 1, 15)]
    assert local == [98_000_000] * 6 + [294_000_000] * 16 + [98_000_000] * 2


@pytest.mark.parametrize(("date", "nights"), [((2026, 3, 29), 7), ((2026, 10, 25), 9)])
def test_the_day_of_a_change_of_clocks_has_an_hour_less_or_more_of_the_night(date, nights):
    day = [hour.parts["power"] for hour in day_of(BOUGHT, *date)]
    assert day.count(98_000_000) == nights and day.count(294_000_000) == 16
    assert sum(day) == nights * 98_000_000 + 16 * 294_000_000


def test_a_zone_at_half_past_splits_an_hour_between_two_bands():
    kolkata = Terms(
        "v", capex_usd=Decimal(0), life_months=1, watts=1000, usd_per_kwh=Decimal(1),
        tariff=bands_of([{"from": 6, "to": 22, "usd_per_kwh": "3"}]), tariff_timezone="Asia/Kolkata",
    )  # fmt: skip
    assert bill(kolkata, hour_of(2026, 5, 1, 0)).nusd == 2 * USD  # 05:30 to 06:30 local


def test_the_standard_rate_takes_the_average_of_the_tariff():
    # (16 × 0.30 + 8 × 0.10) ÷ 24 × 0.98 kW = $0.228667
    assert standard_bill(BOUGHT, hour_of(2026, 1, 15)).parts["power"] == 228_666_667


def test_a_commitment_that_runs_out_in_the_middle_of_a_month_is_followed_by_the_rate_on_demand():
    start = hour_of(2026, 1, 15, 12)
    committed = Terms(
        "v", usd_per_hour=Decimal(3), commitment_usd_per_hour=Decimal(1), commitment_upfront_usd=Decimal(2160),
        commitment_months=3, committed_from=start,
    )  # fmt: skip
    end = hour_of(2026, 4, 15, 12)  # 90 days = 2,160 hours: a dollar of the upfront payment each
    assert committed.committed_until == end
    assert bill(committed, end - HOUR).nusd == 2 * USD and bill(committed, end).nusd == 3 * USD
    assert bill(committed, start - HOUR).nusd == 3 * USD
    assert bill(committed, end - HOUR / 2, end + HOUR / 2).nusd == 2_500_000_000
    whole_april = bill(committed, hour_of(2026, 4, 1), hour_of(2026, 5, 1)).nusd
    assert whole_april == (14 * 24 + 12) * 2 * USD + (30 * 24 - 14 * 24 - 12) * 3 * USD


def test_a_machine_is_written_off_once_and_costs_only_its_running_after_that():
    start = hour_of(2022, 1, 1)
    owned = Terms(
        "v", capex_usd=Decimal(7305), life_months=10, rack_usd_per_month=Decimal("73.05"), bought_from=start
    )
    assert owned.depreciated_at == start + timedelta(hours=7305)
    assert bill(owned, start, start + timedelta(hours=7305)).parts["purchase"] == 7305 * USD
    assert bill(owned, owned.depreciated_at).nusd == 100_000_000


def test_months_are_added_to_their_last_day_where_the_day_is_missing():
    assert add_months(hour_of(2026, 1, 31), 1) == hour_of(2026, 2, 28)
    assert add_months(hour_of(2026, 12, 31), 14) == hour_of(2028, 2, 29)


def test_a_node_that_says_nothing_of_its_cost_is_unpriced():
    with pytest.raises(Unpriced):
        bill(Terms("v"), hour_of(2026, 1, 1))
    with pytest.raises(Unpriced):
        bill(Terms("v", capex_usd=Decimal(1)), hour_of(2026, 1, 1))


amounts = st.decimals(0, 90_000, places=2)


@given(capex=amounts, watts=st.integers(0, 5_000), rack=amounts, people=amounts, months=st.integers(1, 120),
       minutes=st.integers(1, 60), hour=st.integers(0, 8_000))  # fmt: skip
def test_the_parts_sum_to_the_bill_and_the_bill_is_the_exact_cost_rounded_once(
    capex, watts, rack, people, months, minutes, hour
):
    terms = Terms(
        "v", capex_usd=capex, life_months=months, watts=watts, usd_per_kwh=Decimal("0.21"), rack_usd_per_month=rack,
        people_usd_per_month=people,
    )  # fmt: skip
    start = hour_of(2026, 1, 1) + hour * HOUR
    found = bill(terms, start, start + timedelta(minutes=minutes))
    month = Fraction(1461, 2)
    exact = Fraction(capex) / (months * month) + Fraction(watts, 1000) * Fraction("0.21")
    exact = (exact + (Fraction(rack) + Fraction(people)) / month) * USD * minutes / 60
    assert sum(found.parts.values()) == found.nusd == round(exact)


# --- versions ---------------------------------------------------------------------------------------------------


def dated(version, start, end=None, order=0, **values):
    return Dated(Terms(version, **{"usd_per_hour": Decimal(1)} | values), start, end, order)


def test_a_later_version_wins_where_it_reaches_and_the_first_covers_what_came_before():
    a = dated("a", hour_of(2026, 1, 1), order=1)
    b = dated("b", hour_of(2026, 3, 1), order=2)
    c = dated("c", hour_of(2026, 2, 1), hour_of(2026, 3, 1), order=3)
    line = Timeline([b, c, a])
    moments = [(2025, 6, 1), (2026, 1, 31), (2026, 2, 1), (2026, 2, 28), (2026, 3, 1), (2030, 1, 1)]
    assert [line.at(hour_of(*m)).version for m in moments] == ["a", "a", "c", "c", "b", "b"]
    assert line.next_change(hour_of(2026, 1, 5)) == hour_of(2026, 2, 1)
    assert line.next_change(hour_of(2026, 3, 1)) is None
    spans = list(line.spans(hour_of(2026, 2, 1) - HOUR, hour_of(2026, 2, 1) + HOUR))
    assert [(t.version, e - s) for t, s, e in spans] == [("a", HOUR), ("c", HOUR)]


def test_a_correction_from_the_same_moment_takes_the_whole_place_of_what_it_corrects():
    a, b = dated("a", hour_of(2026, 1, 1), order=1), dated("b", hour_of(2026, 1, 1), order=2)
    assert [s.terms.version for s in Timeline([a, b]).segments] == ["b"]


def test_a_commitment_goes_on_through_versions_that_change_something_else():
    terms = {"commitment_usd_per_hour": Decimal("0.5"), "commitment_months": 12}
    a = dated("a", hour_of(2026, 1, 10), order=1, **terms)
    b = dated("b", hour_of(2026, 6, 1), order=2, rack_usd_per_month=Decimal(20), **terms)
    c = dated("c", hour_of(2026, 8, 1), order=3, **terms | {"commitment_months": 24})
    line = Timeline([a, b, c])
    assert line.at(hour_of(2026, 7, 1)).committed_until == hour_of(2027, 1, 10)
    assert line.at(hour_of(2026, 9, 1)).committed_until == hour_of(2028, 8, 1)


# --- what is refused ------------------------------------------------------------------------------------------------

PLAIN = {
    "usd_per_hour": Decimal(1), "capex_usd": None, "salvage_usd": Decimal(0), "life_months": None, "tariff": [],
    "tariff_timezone": "UTC", "pue": Decimal(1), "planned_utilisation": Decimal(1), "watts": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"usd_per_hour": None}, "usd_per_hour", "Say what the node costs"),
        ({"usd_per_hour": Decimal("-1")}, "usd_per_hour", "zero or more"),
        ({"capex_usd": Decimal(5), "life_months": 3}, "capex_usd", "rented or bought"),
        ({"usd_per_hour": None, "capex_usd": Decimal(5), "life_months": 3, "salvage_usd": Decimal(6)}, "salvage_usd",
         "more than the purchase price"),
        ({"commitment_usd_per_hour": Decimal(1)}, "commitment_months", "how many months"),
        ({"commitment_months": 5}, "commitment_months", "what is paid"),
        ({"usd_per_hour": None, "commitment_upfront_usd": Decimal(1), "commitment_months": 5}, "usd_per_hour", "runs out"),
        ({"pue": Decimal("0.9")}, "pue", "1 or more"),
        ({"planned_utilisation": Decimal(0)}, "planned_utilisation", "above 0"),
        ({"tariff_timezone": "Mars/Olympus"}, "tariff_timezone", "not a time zone"),
        ({"tariff": NIGHT}, "tariff", "includes its power"),
    ],
)  # fmt: skip
def test_a_cost_that_cannot_be_is_refused_with_a_sentence(values, field, words):
    assert words in cost_faults(PLAIN | values)[field]


def test_a_good_cost_has_no_faults():
    assert cost_faults(PLAIN) == {}
    bought = {"usd_per_hour": None, "capex_usd": Decimal(5), "life_months": 3, "tariff": NIGHT, "watts": 300}
    assert cost_faults(PLAIN | bought) == {}


@pytest.mark.parametrize(
    ("tariff", "words"),
    [
        ([{"from": 22, "to": 6, "usd_per_kwh": "0.1"}, {"from": 5, "to": 8, "usd_per_kwh": "0.2"}], "from 5:00"),
        ([{"from": 3, "to": 25, "usd_per_kwh": "0.1"}], "from 0 to 24, not 25"),
        ([{"from": -1, "to": 2, "usd_per_kwh": "0.1"}], "from 0 to 24, not -1"),
        ([{"from": 1.5, "to": 2, "usd_per_kwh": "0.1"}], "whole number"),
        ([{"from": True, "to": 2, "usd_per_kwh": "0.1"}], "whole number"),
        ([{"from": 7, "to": 7, "usd_per_kwh": "0.1"}], "covers no hour"),
        ([{"from": 7, "to": 8, "usd_per_kwh": "-0.1"}], "zero or more"),
        ([{"from": 7, "to": 8, "usd_per_kwh": "NaN"}], "zero or more"),
        ([{"from": 7, "to": 8}], "nothing else"),
        ({"from": 7}, "a list of bands"),
    ],
)  # fmt: skip
def test_a_tariff_that_cannot_be_is_refused_with_a_sentence(tariff, words):
    with pytest.raises(ValueError, match=words):
        bands_of(tariff)


def test_a_whole_day_is_from_0_to_24():
    assert bands_of([{"from": 0, "to": 24, "usd_per_kwh": 1}])[0].hours == frozenset(range(24))
    assert bands_of([{"from": 18, "to": 24, "usd_per_kwh": 1}])[0].hours == frozenset(range(18, 24))


def test_who_carries_idle_time_must_be_somebody_there_is():
    lobs = frozenset({"legal", "healthcare"})
    assert idle_faults("lob_share", "", {"legal": 2, "healthcare": 1}, lobs) == {}
    assert "name one" in idle_faults("pool", "", {}, lobs)["pool"]
    assert "no line of business 'sales'" in idle_faults("lob_share", "", {"sales": 1}, lobs)["idle_shares"]
    assert "whole number" in idle_faults("lob_share", "", {"legal": -1}, lobs)["idle_shares"]
    assert "no rule" in idle_faults("god", "", {}, lobs)["idle_rule"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"tariff": [{"from": 0, "to": 6, "usd_per_kwh": "1000.01"}]}, "tariff"),
        ({"tariff": [{"from": 0, "to": 6, "usd_per_kwh": "1e30"}]}, "tariff"),
        ({"usd_per_kwh": Decimal("1000.01")}, "usd_per_kwh"),
        ({"watts": 10_000_000, "tariff": [{"from": 0, "to": 6, "usd_per_kwh": "1000"}]}, "watts"),
        ({"capex_usd": Decimal("999999999999"), "life_months": 1}, "capex_usd"),
        ({"people_usd_per_month": Decimal("9999999999")}, "people_usd_per_month"),
    ],
)  # fmt: skip
def test_an_hour_has_a_most_that_it_may_cost(values, field):
    bought = {"usd_per_hour": None, "capex_usd": Decimal(24_000), "life_months": 48}
    assert list(cost_faults(PLAIN | bought | values)) == [field]


def test_the_most_itself_is_allowed():
    bought = {"usd_per_hour": None, "capex_usd": Decimal(0), "life_months": 48, "watts": 1_000_000}
    dear = PLAIN | bought | {"tariff": [{"from": 0, "to": 6, "usd_per_kwh": "1000"}], "pue": Decimal(1)}
    assert cost_faults(dear) == {}  # 1,000 kW at $1,000: $1,000,000 to the dollar
    assert "watts" in cost_faults(dear | {"watts": 1_000_001})
