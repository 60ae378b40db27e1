"""What the demonstration asks: validation rows with the right answer of each, as requests of /v1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from routing.contracts import GatewayRequest, KeyInfo, Snapshot
from switchyard.core.ids import ALPHABET
from switchyard.demo import company
from switchyard.demo.traffic import Arrival

ENDPOINTS = {
    "classification": "classifications", "prediction": "predictions", "chat": "chat/completions", "embedding": "embeddings",
}  # fmt: skip
CHAT_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Question:
    """The body of a request, and the right answer (None where nobody knows one)."""

    body: dict[str, Any]
    truth: Any


def load(workload: company.WorkloadPlan) -> list[Question]:
    """Every validation row of a workload."""
    if workload.task == "classification":
        from modelhub.ml import datasets

        rows = datasets.load(workload.name, "val")
        return [
            Question({"model": workload.name, "input": [text]}, label)
            for text, label in zip(rows.texts, rows.labels, strict=True)
        ]
    if workload.task == "prediction":
        from modelhub.ml.tabular import data

        records, targets = data.load(workload.name, "val")
        return [
            Question({"model": workload.name, "records": [record]}, target)
            for record, target in zip(records, targets, strict=True)
        ]
    if workload.task == "embedding":
        return []  # a vector is right or wrong by what somebody searches with it
    return [
        Question(
            {
                "model": workload.name,
                "messages": [{"role": "user", "content": f"Write a Python function that {what}."}],
                "max_tokens": CHAT_MAX_TOKENS,
            },
            None,
        )
        for what in _CHORES
    ]


_CHORES = (
    "adds two numbers", "reverses a string", "counts the words of a text", "finds the largest of a list",
    "reads a CSV file", "sorts records by date", "checks whether a number is prime", "merges two dictionaries",
    "removes duplicates from a list", "turns seconds into hours and minutes", "validates an e-mail address",
    "computes a moving average", "walks a folder", "parses a date", "retries a call with a pause", "flattens a list",
)  # fmt: skip


def steady_id(prefix: str, at_ms: int, number: int) -> str:
    """An id that sorts by time and is the same at every replay: time, then the request's number instead of chance."""
    value = (at_ms << 80) | (0xDE30 << 64) | number
    return f"{prefix}_" + "".join(ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def request_of(arrival: Arrival, question: Question, key: KeyInfo, world: Snapshot) -> GatewayRequest:
    """The request as the gateway would have parsed it at that moment."""
    workload = world.workloads[arrival.workload]
    return GatewayRequest(
        request_id=steady_id("req", arrival.at_ms, arrival.number),
        decision_id=steady_id("dec", arrival.at_ms, arrival.number),
        key=key, endpoint=ENDPOINTS[workload.task], task=workload.task, body=question.body,
        raw=orjson.dumps(question.body), received_ns=arrival.at_ms * 1_000_000, workload=workload, origin="demonstration",
    )  # fmt: skip
