"""One request per workload, from its validation rows: what the start asks each of them once."""

from __future__ import annotations

from typing import Any

from switchyard.demo import company


def example_of(workload: company.WorkloadPlan) -> tuple[str, dict[str, Any]]:
    """(path, body) of a request to a workload."""
    if workload.task == "classification":
        from modelhub.ml import datasets

        return "/v1/classifications", {
            "model": workload.name,
            "input": datasets.load(workload.name, "val").texts[0],
        }
    if workload.task == "prediction":
        from modelhub.ml.tabular import data

        records, _ = data.load(workload.name, "val")
        return "/v1/predictions", {"model": workload.name, "records": records[:1]}
    if workload.task == "embedding":
        return "/v1/embeddings", {"model": workload.name, "input": "Where is my card?"}
    message = {"role": "user", "content": "Write a Python function that adds two numbers."}
    return "/v1/chat/completions", {"model": workload.name, "messages": [message], "max_tokens": 16}


def all_examples() -> list[dict[str, Any]]:
    """[{"workload", "lob", "path", "body"}] of the whole company."""
    found = []
    for lob in company.LOBS:
        for workload in lob.workloads:
            path, body = example_of(workload)
            found.append({"workload": workload.name, "lob": lob.slug, "path": path, "body": body})
    return found
