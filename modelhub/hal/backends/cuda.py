"""NVIDIA GPUs: every operator in float32, TF32, bfloat16 and float16, by torch's kernels and by our own in Triton.

Importing this file loads neither torch nor Triton. Which form serves a shape is measured (autotune); the priorities here are
what is used before that.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence, always

NAME, DEVICE = "cuda", "cuda"
FLOATS = ("float32", "tf32", "float16", "bfloat16")
SMALL = 64  # tokens: up to here launches cost more than arithmetic, and a recording pays
Fits = Callable[[Dims], bool]


class Cuda:
    """One CUDA device, the process's current one."""

    name, device = NAME, DEVICE

    def presence(self) -> Presence:
        """Is there a GPU that torch can use? Wakes it."""
        if importlib.util.find_spec("torch") is None:
            return Presence(False, "torch is not installed")
        import torch

        if not torch.cuda.is_available():
            built = torch.version.cuda
            why = "no CUDA device" if built else "torch was built without CUDA"
            return Presence(False, f"{why} (torch {torch.__version__})")
        name, major = torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
        triton = "with Triton" if has_triton() else "without Triton"
        version = f"torch {torch.__version__}, CUDA {torch.version.cuda}, {name}, {triton}"
        return Presence(True, f"{name}, compute capability {major[0]}.{major[1]}, {triton}", version)

    def implementations(self) -> Sequence[Implementation]:
        """Everything this device can run; our own kernels only where Triton is installed."""
        return [
            Implementation(
                form.operator, NAME, DEVICE, dtype, partial(prepare, form, dtype), form.fits, form.priority,
                fused=form.fused, variant=form.variant,
            )
            for form in here()
            for dtype in form.dtypes
        ]  # fmt: skip


def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def here() -> list[Form]:
    """The forms that this device and what is installed can run."""
    import torch

    hopper = torch.cuda.is_available() and torch.cuda.get_device_capability(0) >= (9, 0)
    return [form for form in forms() if (has_triton() or not form.triton) and (hopper or not form.hopper)]


class Form:
    """One way to run an operator: the function's file and name, the dtypes and shapes it takes.

    `more`: arguments of this form alone; `graph`: recorded once and replayed; `hopper`: needs compute capability 9.0.
    """

    def __init__(
        self, operator: str, variant: str, source: str, function: str, dtypes: tuple[str, ...] = FLOATS, *,
        priority: int = 10, fused: bool = True, fits: Fits = always, graph: bool = False, hopper: bool = False, **more: Any,
    ) -> None:  # fmt: skip
        self.operator, self.variant, self.source, self.function = operator, variant, source, function
        self.dtypes, self.priority, self.fused, self.fits, self.graph = dtypes, priority, fused, fits, graph
        self.hopper, self.more = hopper, more

    @property
    def triton(self) -> bool:
        return self.source == "cuda_triton"

    def load(self) -> Callable[..., Any]:
        """The function itself; loads torch, and Triton for ours."""
        module = importlib.import_module(f"modelhub.hal.backends.{self.source}")
        return getattr(module, self.function)  # type: ignore[no-any-return]


def _deep_enough(*letters: str) -> Fits:
    """Rows of 16 bytes and tiles of 16: what grouped products and matrix units ask for."""
    return lambda dims: all(dims[letter] % 16 == 0 for letter in letters)


def _small(dims: Dims) -> bool:
    return dims["T"] <= SMALL


def _few(dims: Dims) -> bool:
    return dims["T"] * dims["K"] <= SMALL


def _power(dims: Dims) -> bool:
    """Head widths that our attention kernel holds in one block."""
    return dims["Dh"] in (16, 32, 64, 128)


def forms() -> list[Form]:
    """Every form of every operator, single-step chains included."""
    lib, own, half = "cuda_torch", "cuda_triton", ("float16", "bfloat16")
    wide = ("float32", "tf32", "bfloat16")  # float16 tiles are bfloat16's: measured once
    dense = ("float32", "float16", "bfloat16")  # where no product takes part, TF32 is float32
    return [
        Form("matmul", "", lib, "matmul"),
        Form("ffn_gelu", "steps", lib, "ffn_steps", priority=0, fused=False),
        Form("ffn_gelu", "eager", lib, "ffn_eager"),
        Form("ffn_gelu", "epilogue", lib, "ffn_lt", ("tf32", *half), priority=20),
        Form("ffn_gelu", "one-pass", own, "ffn_one_pass", priority=15),
        Form("ffn_gelu", "triton", own, "ffn_gelu", priority=12),
        Form("ffn_gelu", "graph", lib, "ffn_eager", priority=30, fits=_small, graph=True),
        Form("layernorm_residual", "steps", lib, "layernorm_steps", dense, priority=0, fused=False),
        Form("layernorm_residual", "eager", lib, "layernorm_eager", dense),
        Form("layernorm_residual", "triton", own, "layernorm_residual", dense, priority=20),
        Form("attention", "steps", lib, "attention_steps", priority=0, fused=False),
        Form("attention", "torch", lib, "attention_fused", priority=20),
        Form("attention", "triton", own, "attention", priority=15, fits=_power),
        Form("moe_experts", "loop", lib, "moe_loop", priority=0, fused=False),
        Form("moe_experts", "gathered", lib, "moe_gathered", priority=5, fits=_few),
        Form("moe_experts", "grouped", lib, "moe_grouped", ("bfloat16",), priority=15, fits=_deep_enough("D", "F")),
        Form("moe_experts", "triton", own, "moe_experts", priority=20),
        Form("moe_experts", "triton-low", own, "moe_experts", wide, priority=18, step=-1),
        Form("moe_experts", "triton-tall", own, "moe_experts", wide, priority=18, step=1),
        Form("moe_experts", "triton-early", own, "moe_experts", wide, priority=19, hopper=True, early=True),
        Form("moe_experts", "triton-low-early", own, "moe_experts", wide, priority=17, hopper=True, step=-1, early=True),
        Form("moe_experts", "graph", own, "moe_experts", priority=30, fits=_small, graph=True),
        Form("moe_experts", "few", own, "moe_few", dense, priority=35, fits=_few),
        Form("moe_experts", "few-early", own, "moe_few", dense, priority=34, fits=_few, hopper=True, early=True),
        Form("moe_experts", "few-graph", own, "moe_few", dense, priority=40, fits=_few, graph=True),
        Form("topk_gate", "steps", lib, "gate_steps", ("float32",), priority=0, fused=False),
        Form("topk_gate", "triton", own, "topk_gate", ("float32",), priority=20),
        Form("int8_matmul", "steps", lib, "int8_steps", ("int8",), priority=0, fused=False),
        Form("int8_matmul", "product", lib, "int8_product", ("int8",), priority=10, fits=_int_mm_fits),
        Form("int8_matmul", "triton", own, "int8_matmul", ("int8",), priority=20),
    ]  # fmt: skip


def _int_mm_fits(dims: Dims) -> bool:
    """cuBLASLt's whole-number product: more than 16 rows, the rest in eights."""
    return dims["T"] > 16 and dims["K"] % 8 == 0 and dims["N"] % 8 == 0


# --- one form, ready to run -----------------------------------------------------------------------------------------------


def prepare(
    form: Form, dtype: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims
) -> Prepared:
    """Constants on the device in their dtype, the function bound to them, recorded where the form says so."""
    import torch

    kind = torch_dtype(dtype)
    held = {name: to_device(array, kind, form, name) for name, array in constants.items()}
    call = bind(form, dtype, held, attributes)
    if form.graph:
        from modelhub.hal.backends.cuda_graph import Graphed

        call = Graphed(call)
    keep = torch.float32 if form.operator in ("moe_experts", "topk_gate") else kind

    def load(array: np.ndarray) -> Any:
        return to_device(array, keep, form, "")

    return Prepared(
        call, load, _read, torch.cuda.synchronize,
        extra_bytes=sum(each.numel() * each.element_size() for each in held.values()),
    )  # fmt: skip


def torch_dtype(dtype: str) -> Any:
    """What tensors of a registry dtype are: TF32 is kept as float32, and 8-bit weights meet bfloat16 rows."""
    import torch

    return {"float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.bfloat16}.get(dtype, torch.float32)  # fmt: skip


def to_device(array: np.ndarray, kind: Any, form: Form, name: str) -> Any:
    """An array on the GPU: floats as `kind`, whole numbers as they are, scales in float32."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array)).cuda()
    if form.variant == "product" and name == "w":
        tensor = tensor.T.contiguous()
    if not tensor.is_floating_point() or name == "scale" or form.operator == "topk_gate":
        return tensor
    return tensor.to(kind)


def bind(
    form: Form, dtype: str, held: Mapping[str, Any], attributes: Mapping[str, Any]
) -> Callable[..., Any]:  # fmt: skip
    """The form as a function of its activations alone, on tensors that are on the device."""
    op = OPERATORS[form.operator]
    function, extra = form.load(), {**op.attributes, **attributes, **form.more}
    kind = torch_dtype(dtype)
    if form.triton and dtype == "tf32":
        from modelhub.hal.backends.cuda_torch import round_tf32

        held = {name: round_tf32(each) if name in ("w1", "w2") else each for name, each in held.items()}
    if (
        form.triton
        and form.operator in ("ffn_gelu", "attention", "moe_experts", "int8_matmul")
        and "few" not in form.variant
    ):
        extra["precision"] = "tf32x3" if dtype == "float32" else "tf32"
    places = [name for name, _ in op.operands]

    def run(*activations: Any) -> Any:
        given = dict(zip(op.activations, activations, strict=True))
        if op.name == "moe_experts":  # the mixing weights stay in float32
            given["x"] = given["x"].to(kind)
        given.update(held)
        return function(*(given[name] for name in places), **extra)

    return run if form.triton else partial(_with_precision, dtype, run)


def _with_precision(dtype: str, run: Callable[..., Any], *activations: Any) -> Any:
    from modelhub.hal.backends.cuda_torch import products_in

    with products_in("tf32" if dtype == "tf32" else "ieee"):
        return run(*activations)


def _read(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_read(each) for each in value)
    return (value.float() if value.is_floating_point() else value).cpu().numpy()


def backends() -> list[Backend]:
    return [Cuda()]
