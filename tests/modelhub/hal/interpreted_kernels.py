"""Our Triton kernels run by Triton's own interpreter on the CPU, against float64: prints one JSON object of errors by case.

A process of its own, because the interpreter must be asked for before the kernels are imported.
"""

import json
import os

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch

from modelhub.hal.backends import cuda_triton
from modelhub.hal.operators import OPERATORS

SHAPES = {
    "layernorm_residual": ({"T": 5, "D": 100}, {"T": 33, "D": 384}),
    "ffn_gelu": ({"T": 20, "D": 72, "F": 100},),
    "topk_gate": ({"T": 7, "E": 200}, {"T": 40, "E": 16}),
    "attention": ({"B": 2, "H": 2, "S": 50, "Dh": 32},),
    "int8_matmul": ({"T": 20, "K": 100, "N": 70},),
    "moe_experts": ({"T": 17, "D": 72, "F": 40, "E": 6, "K": 3}, {"T": 1, "D": 64, "F": 32, "E": 4, "K": 2}),
}
EXTRA = {"ffn_gelu": ("ffn_one_pass",), "moe_experts": ("moe_few",)}
IN_FULL = ("ffn_gelu", "attention", "int8_matmul", "moe_experts")  # take a precision: float32's own here


def worst(function: str, operator: str, dims: dict[str, int]) -> float:
    op = OPERATORS[operator]
    operands = op.sample(dims, 3)
    more = {**op.attributes, **({"precision": "tf32x3"} if function in IN_FULL else {})}
    found = getattr(cuda_triton, function)(*(torch.from_numpy(array) for array in operands.values()), **more)
    found = found if isinstance(found, tuple) else (found,)
    pairs = zip(found, op.exact(operands), strict=True)
    return max(float(np.abs(got.numpy() - want).max() / np.abs(want).max()) for got, want in pairs)


if __name__ == "__main__":
    print(
        json.dumps(
            {
                f"{function} {dims}": worst(function, operator, dims)
                for operator, shapes in SHAPES.items()
                for function in (operator, *EXTRA.get(operator, ()))
                for dims in shapes
            }
        )
    )
