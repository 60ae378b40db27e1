"""Runs the tabular models of an artifact: records in, `/v1/predictions` items out. Numpy and ONNX Runtime only.

    TabularModel(find("tabular-base")).predict("equipment-fault", [{"type": "M", …}])
    → [{"prediction": 0, "probability": 0.012}]

`probability` is that of a failure for equipment-fault and that of the named fault for plate-fault; `low` and
`high` hold nine in ten answers. Keys of a record that are no column are ignored.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.pricing import advice
from modelhub.ml.pricing import features as pricing_features
from modelhub.ml.tabular import features
from modelhub.ml.tabular.schema import Column, RecordError, check_history, check_row
from modelhub.serving.runtime import CPU, GraphSession, How, finite

__all__ = ["RecordError", "TabularModel", "UnknownHead"]

Items = list[dict[str, Any]]
FEATURES = {
    **features.FEATURES,
    "demand": pricing_features.demand,
    "demand_small": pricing_features.demand_small,
}


MOST_RETRAINED = 32  # heads held at once; the least recently used leaves
RETRAINABLE = ("binary", "multiclass")


class UnknownHead(KeyError):
    """The artifact has no head of this name."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the manifest says of a head, its columns, and its open graph."""

    about: dict[str, Any]
    columns: tuple[Column, ...]
    session: GraphSession


def _columns(about: dict[str, Any]) -> tuple[Column, ...]:
    return tuple(Column.from_dict(shown) for shown in about["columns"])


class TabularModel:
    """All prediction heads of one artifact directory, and those that were retrained on a customer's rows
    (`equipment-fault@rt-ab12`), opened when they are asked for. Thread-safe; raises ArtifactCorrupt on a wrong file.
    """

    def __init__(
        self, directory: Path, *, threads: int = 1, providers: list[str] | None = None, how: How | None = None,
        trust: Any = None,
    ) -> None:  # fmt: skip
        self.manifest = artifacts.verify(directory)
        self.heads: dict[str, dict[str, Any]] = self.manifest["heads"]
        how = replace(how or How(threads, tuple(providers or [CPU])), model=self.manifest["id"])
        self._sessions = {
            name: GraphSession(artifacts.file_of(directory, self.manifest, head["file"]), how)
            for name, head in self.heads.items()
        }
        self._columns = {name: _columns(head) for name, head in self.heads.items()}
        self._how, self._trust, self._lock = how, trust, threading.Lock()
        self._tuned: OrderedDict[str, Head] = OrderedDict()

    @property
    def providers(self) -> list[str]:
        """Where the sessions really run."""
        return next(iter(self._sessions.values())).get_providers()

    @property
    def sessions(self) -> list[GraphSession]:
        return [*self._sessions.values(), *(head.session for head in self._tuned.values())]

    def columns(self, head: str) -> list[dict[str, Any]]:
        """`{"name", "type", "values"?}` of each column; remaining-life also takes `history`, a list of rows."""
        return [column.to_dict() for column in self._head(head).columns]

    def adapters(self) -> list[str]:
        """Retrained heads in memory, least recently used first."""
        return list(self._tuned)

    def _head(self, name: str) -> Head:
        """Raises UnknownHead, ArtifactCorrupt, ModelRefused for one that isn't signed as it has to be."""
        if name in self.heads:
            return Head(self.heads[name], self._columns[name], self._sessions[name])
        if "@" not in name:
            raise UnknownHead(f"{self.manifest['id']} has no head {name!r}: it has {sorted(self.heads)}")
        with self._lock:
            if name not in self._tuned:
                self._tuned[name] = self._open(name)
                while len(self._tuned) > MOST_RETRAINED:
                    self._tuned.popitem(last=False)
            self._tuned.move_to_end(name)
            return self._tuned[name]

    def _open(self, name: str) -> Head:
        try:
            folder = artifacts.find_head(self.manifest["id"], name)
        except artifacts.ArtifactMissing as error:
            raise UnknownHead(str(error)) from None
        if self._trust is not None:
            self._trust.check(folder, f"{self.manifest['id']}/{name}")
        manifest = artifacts.verify(folder)
        about = manifest["head"]
        if about["task"] not in RETRAINABLE:
            raise artifacts.ArtifactCorrupt(f"{name}: heads of the kind {about['task']!r} aren't retrained")
        session = GraphSession(artifacts.file_of(folder, manifest, "head"), self._how)
        return Head(about, _columns(about), session)

    def predict(self, head: str, records: Sequence[dict[str, Any]]) -> Items:
        """One item per record, in order. Raises RecordError on the first bad record, UnknownHead."""
        found = self._head(head)
        columns = found.columns
        if not records:
            return []
        task = found.about["task"]
        if task == "remaining-life":
            return self._remaining_life(head, records, columns)
        rows = np.array([check_row(record, columns, index) for index, record in enumerate(records)])
        if task == "demand":
            return self._demand(head, rows, [column.name for column in columns])
        return self._classes(head, found, rows)

    def _run(self, name: str, inputs: np.ndarray) -> np.ndarray:
        head = self._head(name)
        found = head.session.run([head.about["output"]], {"features": inputs})[0]
        return finite(found, f"{self.manifest['id']}/{name}")

    def _classes(self, name: str, head: Head, rows: np.ndarray) -> Items:
        about = head.about
        shares = self._run(name, FEATURES[about["features"]](rows)).astype(np.float64)
        if about["task"] == "binary":
            alarms = shares[:, 1]
            return [
                {"prediction": int(p >= about["threshold"]), "probability": round(float(p), 6)}
                for p in alarms
            ]
        best = shares.argmax(1)
        return [
            {"prediction": about["labels"][place], "probability": round(float(row[place]), 6)}
            for row, place in zip(shares, best, strict=True)
        ]

    def _remaining_life(
        self, head: str, records: Sequence[dict[str, Any]], columns: tuple[Column, ...]
    ) -> Items:
        about = self.heads[head]
        windows = [
            check_history(record, columns, index, about["window"] - 1) for index, record in enumerate(records)
        ]
        inputs = np.stack([features.trend_of(window) for window in windows])
        cycles = np.clip(self._run(head, inputs).reshape(-1).astype(np.float64), 0, about["cap"])
        band = about["interval"]
        places = np.searchsorted(band["edges"], cycles)
        return [
            {
                "prediction": int(round(left)),
                "low": int(round(max(0.0, left + band["low"][place]))),
                "high": int(round(min(about["cap"], left + band["high"][place]))),
            }
            for left, place in zip(cycles.tolist(), places.tolist(), strict=True)
        ]

    def _demand(self, head: str, rows: np.ndarray, names: list[str]) -> Items:
        about, price_at = self.heads[head], names.index("price")
        encode, products = FEATURES[about["features"]], about["labels"]
        for index, price in enumerate(rows[:, price_at]):
            if price <= 0:
                raise RecordError(index, "price", f"expected a price above 0, got {price:g}")

        def units_of(table: np.ndarray) -> np.ndarray:
            # far outside of every price ever charged the curve may overflow: a number stays a number
            return np.exp(np.clip(self._run(head, encode(table)).reshape(-1).astype(np.float64), -20, 20))

        items = []
        for row, units in zip(rows, units_of(rows), strict=True):
            product = about["catalogue"][products[int(row[names.index("product")])]]

            def at(prices: np.ndarray, row: np.ndarray = row) -> np.ndarray:
                table = np.repeat(row[None], len(prices), axis=0)
                table[:, price_at] = prices
                return units_of(table)

            items.append(
                {
                    "prediction": int(round(units)),
                    "low": int(round(units * about["interval"]["low"])),
                    "high": int(round(units * about["interval"]["high"])),
                    "advice": advice.advise(
                        float(row[price_at]), (product["low"], product["high"]), product["unit_cost"], at
                    ),
                }
            )
        return items
