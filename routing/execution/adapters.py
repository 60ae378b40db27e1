"""Chat, completions and embeddings pass through; classifications and predictions have shapes of their own."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any

import orjson

from routing.contracts import DeploymentInfo, GatewayRequest
from routing.execution.base import Adapter, AttemptFailed, Completion, shown_model, upstream_model
from routing.execution.price_class import tiered, used
from routing.execution.sse import BROKEN, mend, readable, words
from routing.execution.usage import read_usage
from switchyard.core.errors import UpstreamFailure

PLAIN = frozenset({"role", "content"})


def garbage(target: DeploymentInfo, what: str) -> AttemptFailed:
    return AttemptFailed("garbage", UpstreamFailure(f"{target.name} answered with {what}."), http_status=200)


def public_usage(usage: dict[str, Any]) -> dict[str, Any]:
    """Usage without our own meter."""
    return {name: value for name, value in usage.items() if name != "accelerator_ns"}


def told_usage(reply: Mapping[str, Any]) -> dict[str, Any]:
    """What an answer says that it used, as its caller may see it; nothing where it says nonsense."""
    usage = reply.get("usage")
    return public_usage(usage) if isinstance(usage, dict) else {}


def output_cap(request: GatewayRequest, target: DeploymentInfo) -> int:
    return asked_cap(request.body) or target.max_output_tokens


def asked_cap(body: Mapping[str, Any]) -> int:
    """Tokens an answer may have by the request's own word; 0: it leaves that to the deployment."""
    return int(body.get("max_completion_tokens") or body.get("max_tokens") or 0)


def answers_of(body: Mapping[str, Any]) -> int:
    """How many texts come back: choices, for each prompt of a list."""
    prompts = body.get("prompt")
    return int(body.get("n") or 1) * (len(prompts) if isinstance(prompts, list) and prompts else 1)


def written_for(body: Mapping[str, Any]) -> int:
    """How many texts are written, and paid for: of `best_of` only the best come back."""
    count = answers_of(body)
    choices, drawn = int(body.get("n") or 1), int(body.get("best_of") or 1)
    return count if drawn <= choices else count // choices * drawn


class PassThrough:
    """OpenAI's own endpoints: unknown fields pass, the cap is always explicit, the model is the server's."""

    def __init__(self, path: str, *, chat: bool) -> None:
        self.path, self.chat = path, chat

    def body(self, request: GatewayRequest, target: DeploymentInfo, *, stream: bool) -> dict[str, Any]:
        body = dict(request.body)
        body["model"] = upstream_model(request, target)
        if target.cap_name or not self.chat or body.get("max_completion_tokens") is None:
            # Under the one name that the server keeps it by: text completions know one alone.
            body.pop("max_completion_tokens", None)
            body.pop("max_tokens", None)
            body[(self.chat and target.cap_name) or "max_tokens"] = output_cap(request, target)
        if request.batch:
            body = tiered(request, target, body)
        body["stream"] = stream
        if stream:
            body["stream_options"] = dict(body.get("stream_options") or {}) | {"include_usage": True}
        else:
            body.pop("stream_options", None)
        return body

    def read(self, request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Completion:
        choices = reply.get("choices")
        if not isinstance(choices, list) or not choices:
            raise garbage(target, "no choices")
        for choice in choices:
            if not isinstance(choice, dict):
                raise garbage(target, "no choices")
            reason = choice.get("finish_reason")
            if type(reason) is str and reason in BROKEN:
                raise garbage(target, "an answer that it broke off itself")
            said = choice.get("message") if self.chat else choice.get("text")
            if said is not None and not isinstance(said, dict if self.chat else str):
                raise garbage(target, "a choice that says nothing")
            try:
                mend(said)
            except ValueError as error:
                raise garbage(target, str(error)) from None
        waits = request.batch or request.apart.flex
        usage = used(request, target, reply) if waits else read_usage(reply.get("usage"))
        payload = dict(reply)
        payload["model"] = shown_model(request)
        if isinstance(told := reply.get("usage"), dict) and "accelerator_ns" in told:
            payload["usage"] = public_usage(told)
        return Completion(payload, usage, texts=[self._text(choice) for choice in choices])

    def _text(self, choice: dict[str, Any]) -> str:
        if not self.chat:
            return choice.get("text") or ""
        message = choice.get("message") or {}
        if message.keys() <= PLAIN and "text" not in choice:
            return words(message.get("content"))  # the one thing in it that a person could read
        return "\n".join([text for _, text in readable(choice, message)])


class Embeddings:
    """Vectors of texts; whichever encoding the server chose, the caller gets the one it asked for."""

    path = "/embeddings"

    def body(self, request: GatewayRequest, target: DeploymentInfo, *, stream: bool) -> dict[str, Any]:
        return tiered(request, target, dict(request.body) | {"model": upstream_model(request, target)})

    def read(self, request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Completion:
        asked = request.body["input"]
        rows = reply.get("data")
        if not isinstance(rows, list) or len(rows) != (1 if isinstance(asked, str) else len(asked)):
            raise garbage(target, "another number of embeddings than texts")
        as_text = request.body.get("encoding_format") == "base64"
        try:
            data = [
                {"object": "embedding", "index": i, "embedding": encoded(row["embedding"], as_text=as_text)}
                for i, row in enumerate(sorted(rows, key=lambda row: row.get("index", 0)))
            ]
        except (AttributeError, KeyError, TypeError, ValueError, struct.error):
            raise garbage(target, "rows without an embedding") from None
        counted = used(request, target, reply)
        counts = {"prompt_tokens": counted.tokens_in, "total_tokens": counted.tokens_in}
        usage = counts | told_usage(reply)
        payload = {"object": "list", "data": data, "model": shown_model(request), "usage": usage}
        return Completion(payload, counted)


def encoded(vector: Any, *, as_text: bool) -> str | list[float]:
    """Base64 of little-endian float32, or numbers. Raises ValueError or TypeError for what is neither."""
    if not vector or not isinstance(vector, str | list):
        raise TypeError("no vector")
    if as_text == isinstance(vector, str):
        return vector
    if isinstance(vector, str):
        raw = base64.b64decode(vector, validate=True)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


class Classify:
    """Servers of ours: label and scores for a list of texts."""

    path = "/classifications"

    def body(self, request: GatewayRequest, target: DeploymentInfo, *, stream: bool) -> dict[str, Any]:
        body = {"model": upstream_model(request, target), "input": request.body["input"]}
        return tiered(request, target, body)

    def read(self, request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Completion:
        rows = reply.get("data")
        if not isinstance(rows, list) or len(rows) != len(request.body["input"]):
            raise garbage(target, "another number of labels than inputs")
        told: list[dict[str, Any]] = []
        withheld: dict[int, dict[str, Any]] = {}
        try:
            for i, row in enumerate(rows):
                if row.get("blocked") is True:  # the model's own operator: nothing of the answer goes on
                    withheld[i] = row["risk"] if isinstance(row.get("risk"), dict) else {}
                    told.append({"index": row.get("index", i), "label": None, "scores": [], "blocked": True})
                else:
                    told.append(row)
            labels = [row["label"] for row in told]
            certain = [
                max(s["score"] for s in row["scores"]) for i, row in enumerate(told) if i not in withheld
            ]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise garbage(target, "rows without label or scores") from None
        payload = {
            "object": "list",
            "model": shown_model(request),
            "data": told,
            "usage": told_usage(reply),
        }
        return Completion(
            payload,
            used(request, target, reply),
            answers=labels,
            confidence=min(certain, default=None),
            withheld=withheld,
        )


class Predict:
    """Servers of ours: a value for each record."""

    path = "/predictions"

    def body(self, request: GatewayRequest, target: DeploymentInfo, *, stream: bool) -> dict[str, Any]:
        body = {"model": upstream_model(request, target), "records": request.body["records"]}
        return tiered(request, target, body)

    def read(self, request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Completion:
        rows = reply.get("data")
        if not isinstance(rows, list) or len(rows) != len(request.body["records"]):
            raise garbage(target, "another number of predictions than records")
        if not all(isinstance(row, dict) and "prediction" in row for row in rows):
            raise garbage(target, "rows without prediction")
        payload = {
            "object": "list",
            "model": shown_model(request),
            "data": rows,
            "usage": told_usage(reply),
        }
        probabilities = [row["probability"] for row in rows if isinstance(row.get("probability"), float)]
        confidence = min((max(p, 1 - p) for p in probabilities), default=None)
        return Completion(
            payload,
            used(request, target, reply),
            answers=[row["prediction"] for row in rows],
            confidence=confidence,
        )


class ClassifyByPrompt:
    """A chat deployment as classifier: the label list in the prompt, a JSON schema on the answer, one text a call."""

    path = "/chat/completions"

    def body(self, request: GatewayRequest, target: DeploymentInfo, *, stream: bool) -> dict[str, Any]:
        labels = list(request.workload.labels) if request.workload else []
        texts = request.body["input"]
        instruction = (
            'Classify each numbered text. Answer with JSON only: {"labels": [one label per text, in order]}. '
            "Allowed labels: " + json.dumps(labels, ensure_ascii=False)
        )
        listing = "\n".join(f"{i + 1}. {text}" for i, text in enumerate(texts))
        item = {"type": "string", "enum": labels}
        count = len(texts)
        schema = {
            "type": "object", "additionalProperties": False, "required": ["labels"],
            "properties": {"labels": {"type": "array", "items": item, "minItems": count, "maxItems": count}},
        }  # fmt: skip
        told = {
            "model": upstream_model(request, target),
            "messages": [{"role": "system", "content": instruction}, {"role": "user", "content": listing}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "labels", "strict": True, "schema": schema},
            },
            target.cap_name or "max_tokens": min(target.max_output_tokens, 64 + 48 * count),
            "temperature": 0,
        }
        return tiered(request, target, told)

    def read(self, request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Completion:
        allowed = set(request.workload.labels) if request.workload else set()
        try:
            labels = orjson.loads(reply["choices"][0]["message"]["content"])["labels"]
        except (KeyError, IndexError, TypeError, orjson.JSONDecodeError):
            raise garbage(target, "text that is not the JSON asked for") from None
        texts = request.body["input"]
        if (
            not isinstance(labels, list)
            or len(labels) != len(texts)
            or not all(isinstance(x, str) and x in allowed for x in labels)
        ):
            raise garbage(target, "something that is none of the labels")
        usage = used(request, target, reply)
        rows = [
            {"index": i, "label": label, "scores": [{"label": label, "score": 1.0}]}
            for i, label in enumerate(labels)
        ]
        counts = {"input_tokens": usage.tokens_in, "output_tokens": usage.tokens_out}
        counts["total_tokens"] = usage.tokens_in + usage.tokens_out
        payload = {"object": "list", "model": shown_model(request), "data": rows, "usage": counts}
        return Completion(payload, usage, answers=labels)


class Moderate:
    """The risk model of the private side, or a vendor's: what each text may do, by kind, beside OpenAI's names."""

    path = "/moderations"

    def body(self, request: GatewayRequest, target: DeploymentInfo, *, stream: bool) -> dict[str, Any]:
        return tiered(request, target, {"model": target.model, "input": request.body["input"]})

    def read(self, request: GatewayRequest, target: DeploymentInfo, reply: dict[str, Any]) -> Completion:
        rows = reply.get("results")
        if not isinstance(rows, list) or len(rows) != len(request.body["input"]):
            raise garbage(target, "another number of verdicts than texts")
        if not all(isinstance(row, dict) and isinstance(row.get("flagged"), bool) for row in rows):
            raise garbage(target, "verdicts without `flagged`")
        payload: dict[str, Any] = {
            "id": f"modr_{request.request_id}",
            "model": shown_model(request),
            "results": rows,
        }
        usage = reply.get("usage")
        if isinstance(usage, dict):
            payload["usage"] = public_usage(usage)
        return Completion(payload, used(request, target, reply), answers=[row["flagged"] for row in rows])


CHAT = PassThrough("/chat/completions", chat=True)
COMPLETION = PassThrough("/completions", chat=False)
EMBEDDINGS, CLASSIFY, PREDICT, BY_PROMPT = Embeddings(), Classify(), Predict(), ClassifyByPrompt()
MODERATE = Moderate()
OTHERS: dict[str, Adapter] = {
    "chat": CHAT, "completion": COMPLETION, "embedding": EMBEDDINGS, "prediction": PREDICT, "moderation": MODERATE,
}  # fmt: skip


def adapter_for(task: str, target: DeploymentInfo) -> Adapter:
    """The adapter by which `target` does `task`."""
    if task == "classification":
        return CLASSIFY if "classification" in target.tasks else BY_PROMPT
    return OTHERS[task]
