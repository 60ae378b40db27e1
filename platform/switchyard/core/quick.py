"""Frozen dataclasses that are made as fast as others: one is made of each kind for every request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, TypeVar

C = TypeVar("C", bound=type)


def quick(cls: C) -> C:
    """For `@dataclass(frozen=True, slots=True)` without `__post_init__`: the same class with another `__init__`.

    A frozen dataclass sets each field through `object.__setattr__`, 70 ns a field. Here the new object belongs, while it is
    being filled, to a class of the same slots that isn't frozen. Whoever has it afterwards finds it as frozen as before.
    """
    if hasattr(cls, "__post_init__") or "__slots__" not in vars(cls):
        raise TypeError(f"{cls.__name__} needs slots and no __post_init__ to be made quickly.")
    names = [field.name for field in fields(cls)]
    open_class = type(f"_Open{cls.__name__}", (), {"__slots__": tuple(names), "__module__": cls.__module__})
    cls.__init__ = _init(cls, open_class)  # type: ignore[misc]
    return cls


def _init(cls: type, open_class: type) -> Callable[..., None]:
    """The `__init__` that dataclasses would write, but for how a field is set."""
    known: dict[str, Any] = {"_set": object.__setattr__, "_open": open_class, "_own": cls, "_absent": MISSING}
    head, body = ["self"], []
    for field in fields(cls):
        name = field.name
        if not field.init or field.kw_only:
            raise TypeError(f"{cls.__name__}.{name} can't be set quickly.")
        if field.default_factory is not MISSING:
            known[f"_made_{name}"] = field.default_factory
            head.append(f"{name}=_absent")
            body.append(f"self.{name} = _made_{name}() if {name} is _absent else {name}")
            continue
        if field.default is not MISSING:
            known[f"_else_{name}"] = field.default
            head.append(f"{name}=_else_{name}")
        else:
            head.append(name)
        body.append(f"self.{name} = {name}")
    lines = [
        f"def __init__({', '.join(head)}):",
        "_set(self, '__class__', _open)",
        *body,
        "self.__class__ = _own",
    ]
    exec("\n    ".join(lines), known)  # noqa: S102 — as dataclasses do; the names are those of our own fields
    made: Callable[..., None] = known["__init__"]
    made.__annotations__ = dict(vars(cls)["__init__"].__annotations__)
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made
