"""A model of an artifact folder run in this process: for machines with a GPU, where the batch belongs to it."""

from __future__ import annotations

import time
from typing import Any

from modelhub import artifacts
from modelhub.hal.device import Device, best_device
from modelhub.models import Deployment, ModelVersion
from modelhub.recipes.endpoints import Answers, Call, Endpoint, Source
from switchyard.core.clock import now_ns
from switchyard.core.ids import new_id
from switchyard.tenancy.models import Workload


class LocalText:
    """A text classifier on the best device of this machine, answering as its server would."""

    def __init__(self, name: str, model_id: str, head: str, device: Device | None = None) -> None:
        from modelhub.serving.runners.text import TextClassifier

        self.name, self.head, self._device = name, head, device or best_device()
        self._runner = TextClassifier(artifacts.find(model_id), providers=list(self._device.providers))

    def device(self) -> str:
        """The device's name and what the session says it runs on."""
        return f"{self.name}: {self._device.name}, {', '.join(self._runner.providers)}"

    def ask(self, inputs: list[str]) -> Answers:
        at_ns, began = now_ns(), time.perf_counter_ns()
        result = self._runner.classify(self.head, inputs)
        taken_ns = time.perf_counter_ns() - began
        items = [
            {"label": label, "scores": [{"label": n, "score": float(s)} for n, s in zip(result.label_names, row, strict=True)]}
            for label, row in zip(result.labels, result.scores, strict=True)
        ]  # fmt: skip
        call = Call(new_id("req"), at_ns, taken_ns / 1e6, sum(result.tokens), len(inputs), taken_ns)
        return Answers(items, [call.duration_ms] if len(inputs) == 1 else [], [call])


def open_source(
    deployment: Deployment, workload: Workload, version: ModelVersion | None, *, endpoint_only: bool = False
) -> Source:
    """In this process on a GPU where the model is one of our text models, else over the deployment's endpoint.

    `endpoint_only` measures what callers meet, whatever this machine has.
    """
    device = best_device()
    if endpoint_only or device.torch == "cpu" or workload.task != "classification":
        return Endpoint(deployment, workload, version)
    try:
        artifacts.find(deployment.model)
    except artifacts.ArtifactMissing:
        return Endpoint(deployment, workload, version)
    upstream: Any = version.upstream_model if version else ""
    head = upstream.partition("/")[2] or workload.name
    return LocalText(deployment.name, deployment.model, head, device)
