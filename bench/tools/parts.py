"""A long benchmark in parts: what was measured is kept, and `BENCH_RESUME=1` takes it over where nothing it rests on changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from bench.common import Results, Row

RESUME = bool(os.environ.get("BENCH_RESUME"))


def part(results: Results, folder: Path, name: str, key: str, measure: Callable[[Results], None]) -> None:
    """Add a part's rows to `results`: kept ones of the same `key` when resuming, else those that `measure` adds now."""
    path = folder / f"{name}.json"
    if RESUME and path.is_file():
        kept = json.loads(path.read_text("utf-8"))
        if kept["key"] == key:
            results.rows += [Row(**row) for row in kept["rows"]]
            results.controls += [Row(**row) for row in kept["controls"]]
            print(f"  {name}: kept from {kept['started']}", flush=True)
            return
    own = Results(results.name)
    measure(own)
    results.rows += own.rows
    results.controls += own.controls
    folder.mkdir(parents=True, exist_ok=True)
    body = {
        "key": key,
        "started": own.started,
        "rows": [asdict(row) for row in own.rows],
        "controls": [asdict(row) for row in own.controls],
    }
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(body, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)
