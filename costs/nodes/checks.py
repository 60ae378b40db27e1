"""Pure: what is wrong with a node's cost, one sentence a field. Doubtful costs are refused, not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any
from zoneinfo import available_timezones

from costs.nodes.terms import HOURS_PER_MONTH, Band

AMOUNTS = (
    "usd_per_hour", "commitment_usd_per_hour", "commitment_upfront_usd", "capex_usd", "salvage_usd", "usd_per_kwh",
    "rack_usd_per_month", "people_usd_per_month", "operations_usd_per_month",
)  # fmt: skip
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
DIGITS = 30  # before and behind the point: exact arithmetic with `1e-999999` would never end
MOST_USD_PER_KWH = 1000  # as many digits as the plain field takes; nobody sells power at that
# Of one machine: beyond it somebody mistook the unit, and a column may overflow.
MOST_USD_PER_HOUR = 1_000_000
SHORTEST_MONTH = 28 * 24  # hours that an upfront payment of one month covers at the least
IDLE_RULE_NAMES = ("nobody", "pool", "lob_share")


def bands_of(raw: Any) -> tuple[Band, ...]:
    """A tariff as it is stored → its bands. ValueError says what is wrong with it."""
    if not isinstance(raw, list):
        raise ValueError('A tariff is a list of bands such as {"from": 22, "to": 6, "usd_per_kwh": "0.09"}.')
    bands = [_band(item) for item in raw]
    taken: set[int] = set()
    for band in bands:
        if twice := taken & band.hours:
            raise ValueError(
                f"Two bands of the tariff cover the hour from {min(twice)}:00; each hour has one price."
            )
        taken |= band.hours
    return tuple(bands)


def _band(item: Any) -> Band:
    if not isinstance(item, Mapping) or set(item) != {"from", "to", "usd_per_kwh"}:
        raise ValueError(
            f'A band of the tariff says "from", "to" and "usd_per_kwh", and nothing else: not {item!r}.'
        )
    start, end = item["from"], item["to"]
    for hour in (start, end):
        if isinstance(hour, bool) or not isinstance(hour, int) or not 0 <= hour <= 24:
            raise ValueError(f"An hour of the tariff is a whole number from 0 to 24, not {hour!r}.")
    if start % 24 == end % 24 and (start, end) != (0, 24):
        raise ValueError(f"The band from {start} to {end} covers no hour; a whole day is from 0 to 24.")
    price = _decimal(item["usd_per_kwh"])
    if price is None or price < 0:
        raise ValueError(
            f"A band's usd_per_kwh is an amount of zero or more with at most {DIGITS} digits on either side of its point, "
            f"not {str(item['usd_per_kwh'])[:60]!r}."
        )
    return Band(start % 24, end % 24, price)


def _decimal(raw: Any) -> Decimal | None:
    if isinstance(raw, bool):
        return None
    try:
        value = Decimal(str(raw))
    except (InvalidOperation, ValueError):
        return None
    if not value.is_finite():
        return None
    exponent = value.as_tuple().exponent
    readable = not value or (value.adjusted() < DIGITS and isinstance(exponent, int) and exponent >= -DIGITS)
    return value if readable else None


def cost_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Field → what is wrong, for the whole of a version's values."""
    faults: dict[str, str] = {}
    for name in AMOUNTS:
        amount = values.get(name)
        if amount is not None and amount < 0:
            faults[name] = f"{name} is {amount}; a cost is zero or more."
    faults |= _basis_faults(values) | _power_faults(values)
    if not 0 < values["planned_utilisation"] <= 1:
        faults["planned_utilisation"] = "The planned utilisation is a share above 0 and up to 1."
    return faults or _hourly_faults(values)


def _hourly_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """The dearest hour there can be, by the field that most of it comes from."""

    def of(name: str) -> Fraction:
        return Fraction(values.get(name) or 0)

    dearest = max([of("usd_per_kwh"), *(Fraction(band.usd_per_kwh) for band in bands_of(values["tariff"]))])
    upfront = of("commitment_upfront_usd") / (SHORTEST_MONTH * max(of("commitment_months"), Fraction(1)))
    life = HOURS_PER_MONTH * max(of("life_months"), Fraction(1))
    parts = {
        "usd_per_hour": of("usd_per_hour"),
        "commitment_usd_per_hour": of("commitment_usd_per_hour"),
        "commitment_upfront_usd": upfront,
        "capex_usd": (of("capex_usd") - of("salvage_usd")) / life,
        "watts": of("watts") / 1000 * of("pue") * dearest,
        **{n: of(n) / HOURS_PER_MONTH for n in AMOUNTS if n.endswith("_per_month")},
    }
    if (hourly := sum(parts.values(), Fraction(0))) <= MOST_USD_PER_HOUR:
        return {}
    field = max(parts, key=lambda name: parts[name])
    return {
        field: f"An hour of the machine would cost up to ${round(hourly):,}, most of it by {field}; more than "
        f"${MOST_USD_PER_HOUR:,} is refused. Check the unit."
    }


def _basis_faults(values: Mapping[str, Any]) -> dict[str, str]:
    """Rented, committed or bought: exactly one way of paying, told whole."""
    cloud, capex, life = (values.get(n) for n in ("usd_per_hour", "capex_usd", "life_months"))
    salvage, months = values.get("salvage_usd") or 0, values.get("commitment_months")
    committed = (
        values.get("commitment_usd_per_hour") is not None or (values.get("commitment_upfront_usd") or 0) > 0
    )
    faults: dict[str, str] = {}
    if cloud is None and (capex is None or not life):
        faults["usd_per_hour"] = "Say what the node costs: usd_per_hour, or capex_usd with life_months."
    if cloud is not None and capex is not None:
        faults["capex_usd"] = (
            "A node is rented or bought: give usd_per_hour or capex_usd, and clear the other."
        )
    if committed and cloud is None:
        faults["usd_per_hour"] = "A commitment runs out: give the usd_per_hour on demand that follows it."
    if committed and not months:
        faults["commitment_months"] = "Say for how many months the commitment holds."
    if months and not committed:
        faults["commitment_months"] = (
            "Say what is paid for the commitment: its rate per hour, upfront, or both."
        )
    if salvage > (capex or 0):
        faults["salvage_usd"] = f"The salvage value {salvage} is more than the purchase price {capex or 0}."
    return faults


def _power_faults(values: Mapping[str, Any]) -> dict[str, str]:
    faults: dict[str, str] = {}
    if values.get("usd_per_hour") is not None and values["tariff"]:
        faults["tariff"] = "A cloud rate includes its power: a tariff belongs to a machine that was bought."
    if values["pue"] < 1:
        faults["pue"] = f"PUE is total power ÷ power of the machines, so 1 or more: not {values['pue']}."
    try:
        # Refused where it is written, not where it is read: a row from before the bound must stay readable.
        high = [band for band in bands_of(values["tariff"]) if band.usd_per_kwh > MOST_USD_PER_KWH]
        if high:
            faults["tariff"] = (
                f"A band's usd_per_kwh is at most {MOST_USD_PER_KWH}, not {high[0].usd_per_kwh}."
            )
    except ValueError as fault:
        faults["tariff"] = str(fault)
    if (values.get("usd_per_kwh") or 0) > MOST_USD_PER_KWH:
        faults["usd_per_kwh"] = f"usd_per_kwh is at most {MOST_USD_PER_KWH}, not {values['usd_per_kwh']}."
    if values["tariff_timezone"] not in available_timezones():
        faults["tariff_timezone"] = f"{values['tariff_timezone']!r} is not a time zone of the IANA database."
    return faults


def moment_faults(field: str, moment: datetime | None) -> dict[str, str]:
    """Beyond these years dates can't be reckoned with: a term may end a century later."""
    if moment is not None and not EARLIEST <= moment < LATEST:
        return {field: f"{moment:%Y-%m-%d} lies outside of the years 1970 to 2200."}
    return {}


def idle_faults(rule: str, pool: str, shares: Any, lobs: frozenset[str]) -> dict[str, str]:
    """What is wrong with who carries idle time. `lobs`: the lines of business there are."""
    if rule not in IDLE_RULE_NAMES:
        return {"idle_rule": f"{rule!r} is no rule for idle time: one of {', '.join(IDLE_RULE_NAMES)}."}
    if rule == "pool" and not pool:
        return {"pool": "Idle time is charged to the pool, but the node is in none: name one."}
    if not isinstance(shares, Mapping):
        return {"idle_shares": 'Shares are an object such as {"legal": 2, "engineering": 1}.'}
    for lob, weight in shares.items():
        if lob not in lobs:
            return {"idle_shares": f"There is no line of business {lob!r}."}
        if isinstance(weight, bool) or not isinstance(weight, int) or not 0 <= weight <= 1_000_000:
            return {
                "idle_shares": f"The weight of {lob} is a whole number from 0 to 1,000,000, not {weight!r}."
            }
    return {}
