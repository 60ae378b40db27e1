"""Where a graph's time goes, by operator, as ONNX Runtime's own profile tells it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelhub.hal import threads


def by_operator(
    graph: Path | str, feeds: Sequence[Mapping[str, Any]], *, warm_up: int = 3
) -> dict[str, float]:
    """Operator → microseconds over all feeds, the most first; the first `warm_up` runs aren't counted."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads.count(), 1
        options.log_severity_level = 3
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        for feed in [feeds[0]] * warm_up + list(feeds):
            session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    runs = [event for event in events if event.get("name") == "model_run"]
    counted_from = runs[warm_up]["ts"] if len(runs) > warm_up else 0
    found: Counter[str] = Counter()
    for event in events:
        if (
            event.get("cat") == "Node"
            and event["name"].endswith("_kernel_time")
            and event["ts"] >= counted_from
        ):
            found[event["args"]["op_name"]] += event["dur"]
    return {name: float(spent) for name, spent in found.most_common()}


def shares(*tables: Mapping[str, float]) -> dict[str, float]:
    """Operator → share of the time of all tables together, the most first."""
    total: Counter[str] = Counter()
    for table in tables:
        total.update(table)
    whole = sum(total.values()) or 1.0
    return {name: spent / whole for name, spent in total.most_common()}
