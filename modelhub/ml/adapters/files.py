"""What a fine-tune leaves: a folder `<workload>@<version>` with the head's graph, the adapter's weights, and their manifest.

The manifest names the body and the trunk that the numbers were fitted on and the line of business they belong to; a server
refuses them on another, or for another.
"""

from __future__ import annotations

import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from modelhub import artifacts
from modelhub.ml.adapters.rows import Prepared
from modelhub.ml.text import graphs
from modelhub.ml.text.blend import Blend, fit_blend

CALIBRATED, BLENDED = 100, 20  # rows from which a temperature, and a wide channel's share, are fitted
USUAL_WIDE_SHARE = 0.3
ADAPTER_FILE = "adapter.safetensors"


def write_head_artifact(
    out: Path, base: dict[str, Any], own: Prepared, made: dict[str, Any], report: dict[str, Any], lob: str
) -> None:
    """Write head, adapter where there is one, and manifest last."""
    out.mkdir(parents=True, exist_ok=True)
    graphs.write_head(out / "head.onnx", made["weight"], made["bias"], own.weights.table, made["wide_share"])
    files = {"head": "head.onnx"}
    manifest: dict[str, Any] = {
        "id": out.name,
        "kind": "text-head",
        "version": out.name.partition("@")[2],
        "base": base["id"],
        "body_sha256": base["files"]["body"]["sha256"],
        "trunk_sha256": base["requires"].get("trunk", {}).get("sha256"),
        "head": own.head,
        "lob": lob,
        "labels": own.labels,
        "temperature": made["temperature"],
        "method": made["method"],
        "metrics": {name: report[name] for name in ("before", "after", "paired_difference")},
        "train": {
            "rows": report["rows"], "epochs": report["epochs"], "weight_hash": report["weight_hash"], "cpu_s": report["cpu_s"],
        },
        "created": date.today().isoformat(),
    }  # fmt: skip
    if made["adapter"] is not None:
        shape, arrays = made["adapter"]
        save_file(
            {name: np.ascontiguousarray(value) for name, value in arrays.items()}, str(out / ADAPTER_FILE)
        )
        files["adapter"] = ADAPTER_FILE
        manifest["adapter"] = shape.as_dict()
        manifest["trunk_hash"] = report["trunk_hash"]
    artifacts.write_manifest(out, manifest, files)


def confidence(base: dict[str, Any], own: Prepared, made: dict[str, Any]) -> dict[str, Any]:
    """The wide channel's share and the temperature, kept from the shipped head or fitted on the rows held back.

    A new head's held-back logits come back with the wide channel in them.
    """
    logits, y = made["held_logits"], own.held.y
    if own.fresh:
        side = own.weights.table.logits(own.held.ids).astype(np.float32)
        blend = fit_blend(logits, side, y) if len(y) >= BLENDED else Blend(USUAL_WIDE_SHARE, 1.0)
        temperature = blend.temperature if math.isfinite(blend.temperature) else 1.0
        return {
            "wide_share": blend.wide_share,
            "temperature": temperature,
            "held_logits": logits + blend.wide_share * side,
        }
    temperature = float(base["heads"][own.head].get("temperature", 1.0))
    if len(y) >= CALIBRATED:
        fitted = fit_blend(logits, np.zeros_like(logits), y).temperature
        temperature = fitted if math.isfinite(fitted) else temperature
    return {"wide_share": own.weights.wide_share, "temperature": temperature}
