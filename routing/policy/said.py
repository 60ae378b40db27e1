"""Sentences that remember how they were made, so that a page can say them in its reader's language. Pure: no catalogue here.

`_("Unknown field %(name)s.") % {"name": name}` is the English text, as REST and the command line give it, with its template and
values beside it. The function is called as gettext's is so that extraction finds the templates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Part = tuple[str, Mapping[str, Any]]


class Said(str):
    """English text. `parts`: the (template, values) it consists of; a value may be said as well."""

    __slots__ = ("parts",)
    parts: tuple[Part, ...]

    def __new__(cls, text: str, parts: tuple[Part, ...] | None = None) -> Said:
        new = super().__new__(cls, text)
        new.parts = ((text, {}),) if parts is None else parts
        return new

    def __getnewargs__(self) -> tuple[str, tuple[Part, ...]]:  # type: ignore[override]
        return str(self), self.parts

    def __mod__(self, values: Any) -> Said:
        """Of a template: its text with these values, which are named."""
        return Said(str.__mod__(self, values), ((str(self), dict(values)),))

    def __add__(self, other: str) -> Said:
        more = other.parts if isinstance(other, Said) else ((other, {}),)
        return Said(str.__add__(self, other), self.parts + more if other else self.parts)


def _(template: str) -> Said:
    """A sentence or, before `%`, the template of one."""
    return Said(template)


def in_words(text: Any, translate: Callable[[str], str]) -> str:
    """The text by a catalogue; what wasn't said by `_` stays as it is."""
    if not isinstance(text, Said):
        return str(text)
    return "".join(_part(template, values, translate) for template, values in text.parts)


def _part(template: str, values: Mapping[str, Any], translate: Callable[[str], str]) -> str:
    if not template.strip():
        return template
    words = translate(template)
    if not values:
        return words
    return words % {
        name: in_words(value, translate) if isinstance(value, str) else value
        for name, value in values.items()
    }


def kept(text: str) -> list[Any]:
    """As JSON, for what is stored and read again in another language."""
    if not isinstance(text, Said):
        return [[text, None]]
    return [
        [template, {n: kept(v) if isinstance(v, Said) else v for n, v in values.items()}] for template, values in text.parts
    ]  # fmt: skip


def from_kept(rows: Any) -> Said:
    """What `kept` was given. Raises ValueError, TypeError or KeyError for anything else."""
    whole = Said("", ())
    for template, values in rows:
        if values is None:
            values = {}
        told = {n: from_kept(v) if isinstance(v, list) else v for n, v in values.items()}
        whole = whole + (_(template) % told if told else Said(template))
    return whole
