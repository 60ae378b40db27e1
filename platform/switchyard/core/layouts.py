"""Where a model's columns stand in a row that is made quickly: those of its own first, then figures, then what many rows
have in common. `switchyard.core.binary` makes such rows for PostgreSQL, `switchyard.core.plain` for SQLite."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from django.db import models


@dataclass(slots=True)
class Columns:
    """ValueError when a column is missing or named twice. `fields`: by column, but for an id that the database gives."""

    model: type[models.Model]
    own: tuple[str, ...]
    figures: tuple[str, ...]
    shared: tuple[str, ...]
    columns: tuple[str, ...] = field(init=False)
    fields: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.fields = {
            str(f.column): f for f in self.model._meta.concrete_fields if not isinstance(f, models.AutoField)
        }
        self.columns = (*self.own, *self.figures, *self.shared)
        if sorted(self.columns) != sorted(self.fields):
            odd = set(self.columns) ^ set(self.fields)
            raise ValueError(
                f"{self.model.__name__}: each column once, but for its id; look at {sorted(odd) or 'doubles'}."
            )

    @property
    def list(self) -> str:
        return ", ".join(f'"{name}"' for name in self.columns)
