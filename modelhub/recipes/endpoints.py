"""Asking a deployment as a batch client does: over its real HTTP endpoint, with its own key."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import requests

from modelhub.models import Deployment, ModelVersion
from switchyard.core.errors import UpstreamFailure
from switchyard.tenancy.models import Workload

BATCH = 32
TIMEOUT_S = 120


@dataclass(slots=True)
class Answers:
    """Answers in the order of the inputs; `ms` per single input; nanoseconds as the server measured them."""

    items: list[Any] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    single_ms: list[float] = field(default_factory=list)
    accelerator_ns: int = 0
    tokens: int = 0


class Endpoint:
    """One deployment's answers for one workload and version."""

    def __init__(self, deployment: Deployment, workload: Workload, version: ModelVersion | None) -> None:
        self.deployment, self.workload = deployment, workload
        self.model = version.upstream_model if version else f"{deployment.model}/{workload.name}"
        self._session = requests.Session()
        self._session.headers["authorization"] = f"Bearer {deployment.api_key}"

    def providers(self) -> str:
        """What the server says it really runs on; empty when it doesn't say."""
        try:
            rows = self._session.get(f"{self.deployment.base_url}/models", timeout=10).json()["data"]
            found = {row["id"]: row.get("providers") for row in rows}
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return ""
        return ", ".join(found.get(self.deployment.model) or [])

    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        return self._post("/classifications", {"model": self.model, "input": texts})

    def predict(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self._post("/predictions", {"model": self.model, "records": records})

    def ask(self, inputs: list[Any], answers: Answers, batch: int = BATCH) -> None:
        """All inputs in batches, into `answers`."""
        call = self.classify if self.workload.task == "classification" else self.predict
        for start in range(0, len(inputs), batch):
            began = time.perf_counter()
            rows = call(inputs[start : start + batch])
            if batch == 1:
                answers.single_ms.append((time.perf_counter() - began) * 1000)
                continue
            answers.items += rows
        answers.accelerator_ns += self.accelerator_ns
        self.accelerator_ns = 0

    accelerator_ns = 0

    def _post(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            response = self._session.post(self.deployment.base_url + path, json=body, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise UpstreamFailure(
                f"{self.deployment.name} can't be reached ({type(error).__name__})."
            ) from None
        if response.status_code != 200:
            raise UpstreamFailure(
                f"{self.deployment.name} answered {response.status_code}: {response.text[:200]}"
            )
        payload = response.json()
        self.accelerator_ns += int(payload.get("usage", {}).get("accelerator_ns") or 0)
        return payload["data"]
