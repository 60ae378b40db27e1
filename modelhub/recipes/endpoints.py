"""Asking a deployment as a batch client does: over its real HTTP endpoint, with its own key, every call timed."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelhub.models import Deployment, ModelVersion
from modelhub.services.registration import checked_base_url
from modelhub.services.upstream_headers import known_by, path_at
from switchyard.core.addresses import AddressRefused
from switchyard.core.clock import now_ns
from switchyard.core.errors import InvalidRequest, UpstreamFailure, UpstreamMisconfigured
from switchyard.core.ids import new_id
from switchyard.core.reaching import reach
from switchyard.tenancy.models import Workload

BATCH = 32
TIMEOUT_S = 120
ANSWER_MAX_BYTES = 32 * 1024 * 1024
ANSWER_TOKENS = 200  # enough for every HumanEval solution of reference
WISH = "Complete this Python function. Answer with code only.\n\n"


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call as the server reported it: what a vendor will bill by its request id."""

    request_id: str
    at_ns: int
    duration_ms: float
    tokens_in: int
    tokens_out: int
    accelerator_ns: int


@dataclass(slots=True)
class Answers:
    """Answers in the order of the inputs; `single_ms` are times of calls with one input alone."""

    items: list[Any] = field(default_factory=list)
    single_ms: list[float] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def accelerator_ns(self) -> int:
        """Compute that the servers measured."""
        return sum(call.accelerator_ns for call in self.calls)


class UselessAnswer(UpstreamFailure):
    """The server answered, and bills, but not with what was asked for. `calls` are to be paid all the same."""

    def __init__(self, message: str, calls: list[Call]) -> None:
        super().__init__(message)
        self.calls = calls


class Source(Protocol):
    """Something that answers a workload: an endpoint, or a model in this process."""

    name: str

    def device(self) -> str: ...

    def ask(self, inputs: list[Any]) -> Answers: ...


class Endpoint:
    """One deployment's answers for one workload and version.

    Raises UpstreamFailure when it doesn't answer well, InvalidRequest for an address that may not be called.
    """

    def __init__(self, deployment: Deployment, workload: Workload, version: ModelVersion | None) -> None:
        self.deployment, self.workload, self.name = deployment, workload, deployment.name
        self.model = version.upstream_model if version else _model_name(deployment, workload)
        self._url, leaves = checked_base_url(deployment.base_url), deployment.side == "external"
        try:
            self._connection, self._prefix, more = reach(self._url, timeout_s=TIMEOUT_S, leaves=leaves)
        except ValueError as error:
            raise UpstreamMisconfigured(f"{self.name}: {error}") from None
        known = known_by(deployment.api_key, deployment.headers)
        self._headers = known | {"content-type": "application/json"} | more

    def device(self) -> str:
        """What the server says it really runs on."""
        try:
            rows = self._request("GET", "/models", None)["data"]
            found = {row["id"]: row.get("providers") for row in rows}
        except (UpstreamFailure, KeyError, TypeError):
            found = {}
        providers = found.get(self.deployment.model)
        return f"{self.name}: {', '.join(providers) if providers else 'as its vendor runs it'}"

    def ask(self, inputs: list[Any]) -> Answers:
        """One call for all inputs of a classification or prediction; one call each for code."""
        answers = Answers()
        for body, path, read in self._requests(inputs):
            reply = self._call(path, body, answers)
            try:
                answers.items += read(reply)
            except (KeyError, IndexError, TypeError):
                words = f"{self.name} answered in a shape that isn't the endpoint's."
                raise UselessAnswer(words, answers.calls) from None
        if len(answers.items) != len(inputs):
            words = f"{self.name} gave {len(answers.items)} answers to {len(inputs)} inputs."
            raise UselessAnswer(words, answers.calls)
        if len(inputs) == 1:
            answers.single_ms = [call.duration_ms for call in answers.calls]
        return answers

    def _requests(self, inputs: list[Any]) -> list[tuple[dict[str, Any], str, Callable[[Any], list[Any]]]]:
        task = self.workload.task
        if task == "classification":
            return [({"model": self.model, "input": inputs}, "/classifications", lambda reply: reply["data"])]
        if task == "prediction":
            return [({"model": self.model, "records": inputs}, "/predictions", lambda reply: reply["data"])]
        if task in ("chat", "completion"):
            return [(self._chat(text), "/chat/completions", _content) for text in inputs]
        raise InvalidRequest(f"Work of the kind {task} can't be evaluated.")

    def _chat(self, prompt: str) -> dict[str, Any]:
        message = {"role": "user", "content": WISH + prompt}
        return {"model": self.model, "messages": [message], "temperature": 0, "max_tokens": ANSWER_TOKENS}

    def _call(self, path: str, body: dict[str, Any], answers: Answers) -> dict[str, Any]:
        request_id, at_ns, began = new_id("req"), now_ns(), time.perf_counter()
        reply = self._request("POST", path, body, request_id)
        told = reply.get("usage")
        usage: dict[str, Any] = told if isinstance(told, dict) else {}
        answers.calls.append(
            Call(
                request_id,
                at_ns,
                (time.perf_counter() - began) * 1000,
                int(usage.get("input_tokens") or usage.get("prompt_tokens") or 0),
                int(usage.get("output_tokens") or usage.get("completion_tokens") or 0),
                int(usage.get("accelerator_ns") or 0),
            )  # fmt: skip
        )
        return reply

    def _request(self, method: str, path: str, body: Any, request_id: str = "") -> dict[str, Any]:
        headers = self._headers | ({"x-request-id": request_id} if request_id else {})
        data = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, self._prefix + path_at(self._url, path), data, headers)
            response = self._connection.getresponse()
            raw, status = response.read(ANSWER_MAX_BYTES), response.status
        except (OSError, http.client.HTTPException, AddressRefused) as error:
            self._connection.close()
            raise UpstreamFailure(f"{self.name} can't be reached ({type(error).__name__}).") from None
        try:
            reply = json.loads(raw)
        except ValueError:
            reply = None
        if status != 200 or not isinstance(reply, dict):
            words = raw[:200].decode("utf-8", "replace")
            raise UpstreamFailure(f"{self.name} answered {status}: {words}")
        return reply


def _model_name(deployment: Deployment, workload: Workload) -> str:
    return f"{deployment.model}/{workload.name}" if deployment.heads else deployment.model


def _content(reply: dict[str, Any]) -> list[str]:
    return [reply["choices"][0]["message"]["content"] or ""]
