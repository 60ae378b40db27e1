"""scikit-learn to ONNX, checked on the rows it will be judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def export(model: Any, path: Path, sample: np.ndarray) -> float:
    """Write a fitted classifier or regressor; input `features` (N, F) float32.

    Gives the largest difference on `sample`; raises RuntimeError when it is over 1e-3 of the answers' scale.
    """
    import onnxruntime
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    classifier = hasattr(model, "predict_proba")
    graph = to_onnx(
        model,
        initial_types=[("features", FloatTensorType([None, sample.shape[1]]))],
        options={id(model): {"zipmap": False}} if classifier else None,
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    path.write_bytes(graph.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run([output_name(model)], {"features": sample})[0].reshape(len(sample), -1)
    wanted = model.predict_proba(sample) if classifier else model.predict(sample).reshape(-1, 1)
    difference = float(np.abs(found - wanted).max())
    scale = max(1.0, float(np.abs(wanted).max()))
    if difference > 1e-3 * scale:
        raise RuntimeError(f"{path.name}: ONNX and scikit-learn differ by {difference:.2e}")
    return difference


def output_name(model: Any) -> str:
    """The graph output that holds the answers."""
    return "probabilities" if hasattr(model, "predict_proba") else "variable"


def stored_numbers(model: Any) -> int:
    """Splits and leaves of the trees, or coefficients: the model's parameters."""
    if hasattr(model, "coef_"):
        return int(np.size(model.coef_) + np.size(model.intercept_))
    if hasattr(model, "estimators_"):
        parts = np.ravel(np.asarray(model.estimators_, dtype=object))
        return sum(stored_numbers(part) for part in parts)
    return int(model.tree_.node_count)
