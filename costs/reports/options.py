"""Reading what people type into a planner's form: numbers within bounds, lists of them, amounts by device."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from costs.planning.devices import load


def number(name: str, low: float, high: float) -> Callable[[str], float]:
    """A reader of one number within [low, high]; ValueError says what was expected."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{name} must be a number from {low:g} to {high:,.10g}, not {text!r}.") from None
        if not low <= value <= high:  # also refuses what is not a number at all
            raise ValueError(f"{name} must lie between {low:g} and {high:,.10g}; {text} does not.")
        return value

    return read


def whole(name: str, low: int, high: int) -> Callable[[str], int]:
    within = number(name, low, high)

    def read(text: str) -> int:
        value = within(text)
        if value != int(value):
            raise ValueError(f"{name} must be a whole number, not {text}.")
        return int(value)

    return read


def numbers(name: str, low: float, high: float, most: int = 6) -> Callable[[str], tuple[float, ...]]:
    """Numbers with commas between, ascending, each once."""
    one = number(name, low, high)

    def read(text: str) -> tuple[float, ...]:
        values = sorted({one(part.strip()) for part in text.split(",")})
        if len(values) > most:
            raise ValueError(f"{name}: at most {most} numbers at a time.")
        return tuple(values)

    return read


def dollars(name: str, high: int) -> Callable[[str], Decimal]:
    """An amount from 0 to `high`."""

    def read(text: str) -> Decimal:
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise ValueError(f"{name} must be an amount in dollars, not {text!r}.") from None
        if not value.is_finite() or not 0 <= value <= high:
            raise ValueError(f"{name} must lie between 0 and {high:,} dollars; {text} does not.")
        return value

    return read


def one_of(name: str, known: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {text!r}.")
        return text

    return read


def by_device(name: str, read_one: Callable[[str], Any]) -> Callable[[str], dict[str, Any]]:
    """`nvidia-l4:2500,amd-mi250x:9000` → an amount for each device named."""

    def read(text: str) -> dict[str, Any]:
        found = {}
        for part in text.split(","):
            device, colon, amount = part.strip().partition(":")
            if not colon or device not in load().profiles:
                known = ", ".join(load().profiles)
                raise ValueError(f"{name} is written device:amount with commas between; devices are {known}.")
            found[device] = read_one(amount)
        return found

    return read
