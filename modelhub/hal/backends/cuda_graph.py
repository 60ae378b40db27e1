"""CUDA graphs: a call recorded once and replayed, so that a small batch isn't a string of launches from the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WARM_UPS = 3


class Graphed:
    """A function of tensors that replays its own recording, one per tuple of input shapes.

    The function must ask nothing of the host (no `.item()`, no shapes that depend on values). Inputs are copied into the
    recording's own buffers, and the answer is a copy of its buffer, so callers need not know that anything is replayed.
    """

    def __init__(self, function: Callable[..., Any], *, most: int = 16) -> None:
        self._function, self._most = function, most
        self._records: dict[tuple[Any, ...], tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Any]] = {}

    @torch.inference_mode()  # buffers made in that mode may only be written in it
    def __call__(self, *inputs: Tensor) -> Any:
        """The function's answer. Raises whatever recording raises; RuntimeError when there are too many shapes."""
        key = tuple((tuple(each.shape), each.dtype) for each in inputs)
        if key not in self._records:
            if len(self._records) >= self._most:
                raise RuntimeError(
                    f"{len(self._records)} recordings already: round batch sizes to fewer shapes, or run without a graph"
                )
            self._records[key] = self._record(inputs)
        graph, held, answer = self._records[key]
        for buffer, fresh in zip(held, inputs, strict=True):
            buffer.copy_(fresh)
        graph.replay()
        return tuple(part.clone() for part in answer) if isinstance(answer, tuple) else answer.clone()

    def _record(self, inputs: tuple[Tensor, ...]) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], Any]:
        held = tuple(each.clone() for each in inputs)
        side = (
            torch.cuda.Stream()
        )  # recording needs a stream of its own, and kernels compiled before it starts
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._function(*held)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = self._function(*held)
        return graph, held, answer
