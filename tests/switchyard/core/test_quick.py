"""A class made quickly is the class that dataclasses made, in everything but the time it takes."""

from __future__ import annotations

import copy
import inspect
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace

import pytest

import costs.contracts
import routing.contracts
from switchyard.core.quick import quick


@dataclass(frozen=True, slots=True)
class Slow:
    name: str
    count: int = 1
    found: dict[str, int] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    name: str
    count: int = 1
    found: dict[str, int] = field(default_factory=dict)

    @property
    def twice(self) -> int:
        return 2 * self.count


def test_it_takes_its_fields_by_place_by_name_and_by_default():
    one = Quick("a", found={"x": 1})
    assert (one.name, one.count, one.found, one.twice) == ("a", 1, {"x": 1}, 2)
    assert Quick("a").found is not Quick("a").found
    assert one == Quick("a", 1, {"x": 1}) != Quick("b", 1, {"x": 1})
    assert asdict(one) == {"name": "a", "count": 1, "found": {"x": 1}}
    assert repr(one) == "Quick(name='a', count=1, found={'x': 1})"
    with pytest.raises(TypeError):
        Quick()


def test_it_is_frozen_and_of_its_own_class():
    one = Quick("a")
    assert type(one) is Quick
    with pytest.raises(FrozenInstanceError):
        one.count = 2
    assert replace(one, count=2) == Quick("a", 2)
    assert copy.deepcopy(one) == copy.copy(one) == one


def test_it_is_called_as_before():
    assert list(inspect.signature(Quick).parameters) == list(inspect.signature(Slow).parameters)


def test_what_cannot_be_made_quickly_is_refused():
    with pytest.raises(TypeError, match="slots"):
        quick(dataclass(frozen=True)(type("Open", (), {"__annotations__": {"a": int}})))

    @dataclass(frozen=True, slots=True)
    class Checked:
        a: int

        def __post_init__(self) -> None: ...

    with pytest.raises(TypeError, match="__post_init__"):
        quick(Checked)


def test_the_contracts_of_a_request_stay_frozen():
    for made in (
        costs.contracts.Usage(),
        routing.contracts.Facts({}),
        routing.contracts.PlannedHop("a", "first", 1),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(made, fields(made)[0].name, 1)
