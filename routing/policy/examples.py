"""One condition for each fact, that a person can copy and change: what `facts` shows beside type and meaning."""

from __future__ import annotations

from collections.abc import Mapping

EXAMPLES: Mapping[str, str] = {
    "request.model": 'request.model == "auto"',
    "request.wish": 'request.wish != ""',
    "request.stream": "request.stream",
    "request.tokens_in": "request.tokens_in > 2000",
    "request.max_tokens": "request.max_tokens <= 256",
    "request.has_tools": "!request.has_tools",
    "request.language": 'request.language in ["en", "zh"]',
    "request.difficulty": "request.difficulty >= 0.7",
    "workload.name": 'workload.name == "support-intent"',
    "workload.task": 'workload.task in ["chat", "completion"]',
    "workload.tier": 'workload.tier == "edge"',
    "workload.sensitivity": "workload.sensitivity <= internal",
    "lob.slug": 'lob.slug == "customer-service"',
    "lob.application": 'lob.application.startsWith("mobile-")',
    "data.sensitivity": "data.sensitivity >= confidential",
    "data.entities": '"iban" in data.entities',
    "budget.used_pct": "budget.used_pct >= 80.0",
    "private.queue_s": "private.queue_s > 2.0",
    "quality.accuracy": "quality.accuracy >= 0.9",
    "quality.rows": "quality.rows >= 30",
    "time.hour": "time.hour >= 8 && time.hour < 18",
    "time.weekday": "time.weekday <= 4",
    "target.name": 'target.name != "private-sparse"',
    "target.side": 'target.side == "external"',
    "target.model": 'target.model.startsWith("txt-")',
    "target.region": '!(target.region in ["eu-central-1", "eu-west-1"])',
    "hop": 'hop in ["cache", "log", "training"]',
    "data.masked": "!data.masked",
}


def example_of(name: str) -> str:
    """Empty for a fact that has none."""
    return EXAMPLES.get(name, "")
