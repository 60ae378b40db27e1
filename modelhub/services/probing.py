"""What an OpenAI-shaped server really supports: asked of the server itself, a few tokens a question."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelhub.models import Deployment
from modelhub.services.upstream_headers import known_by, path_at
from switchyard.core.clock import now
from switchyard.core.errors import SwitchyardError, UpstreamFailure
from switchyard.core.fetching import call
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.services import bump_config

TIMEOUT_S, MOST_BYTES, CAP = 20.0, 2 * 1024 * 1024, 16
ASK = [{"role": "user", "content": "Answer with the word ok."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "note", "description": "Notes a word.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}  # fmt: skip
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "word", "strict": True,
        "schema": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"],
                   "additionalProperties": False},
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Target:
    """A server: its base URL, and how it knows us. `model` may be empty: then the first that it lists is asked."""

    base_url: str
    model: str = ""
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    leaves: bool | None = None  # through the operator's proxy; None: by the address

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"content-type": "application/json", "accept": "*/*"} | known_by(self.api_key, self.headers)
        payload = None if body is None else json.dumps(body).encode()
        return call(
            self.base_url, path_at(self.base_url, path), headers=headers, timeout_s=TIMEOUT_S, max_bytes=MOST_BYTES,
            method=method, body=payload, leaves=self.leaves,
        )  # fmt: skip


@dataclass(slots=True)
class Probe:
    """What was found: name → {"support": yes | no | ignored | unknown, "why"}, and what finding it used."""

    target: Target
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 0

    def note(self, name: str, support: str, why: str = "", /, **more: Any) -> None:
        self.found[name] = {"support": support, "why": why} | more

    def supports(self, name: str) -> bool:
        return self.found.get(name, {}).get("support") == "yes"

    def chat(self, **more: Any) -> tuple[int, dict[str, Any]]:
        """(status, answer as JSON or {"error": …})."""
        body = {"model": self.target.model, "messages": ASK, "max_tokens": CAP} | more
        asked = {name: value for name, value in body.items() if value is not None}
        status, _, raw = self.target.send("POST", "/chat/completions", asked)
        self.calls += 1
        told = _object(raw)
        self._count(told.get("usage"))
        return status, told

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self.tokens_in += _whole(usage.get("prompt_tokens"))
            self.tokens_out += _whole(usage.get("completion_tokens"))

    def as_json(self) -> dict[str, Any]:
        used = {"calls": self.calls, "tokens_in": self.tokens_in, "tokens_out": self.tokens_out}
        return {"at": now().isoformat(), "model": self.target.model, "found": self.found, "used": used}


def probe(target: Target) -> Probe:
    """Ask everything. Raises InvalidRequest for an address that may not be called and UpstreamFailure when nobody answers."""
    done = Probe(target)
    _models(done)
    for question in (_chat, _stream, _tools, _json_schema, _logprobs, _n, _embeddings):
        try:
            question(done)
        except SwitchyardError as error:
            done.note(question.__name__[1:], "unknown", error.message)
    return done


def probe_deployment(row: Deployment) -> dict[str, Any]:
    """Probe a deployment's server and keep what was found on the row, with a warning for each thing that doesn't fit it."""
    target = Target(row.base_url, row.model, row.api_key, row.headers, leaves=row.side == "external")
    try:
        done = probe(target)
        told = done.as_json() | {"warnings": mismatches(row, done)}
    except UpstreamFailure as error:
        told = Probe(target).as_json() | {"warnings": [error.message]}
    Deployment.objects.filter(pk=row.pk).update(capabilities=told)
    bump_config()  # by what name it caps its answers
    return told


def start_probe(*, row: Deployment, user: Any) -> Job:
    """A job that probes it: a server that is slow in refusing eight questions takes minutes. A live one is given back."""
    lobs = list(row.lobs.all()[:2])
    return submit_once(
        kind="probe", organisation=row.organisation, lob=lobs[0] if len(lobs) == 1 else None, user=user,
        params={"deployment": row.name}, unique_key=f"probe:{row.name}",
    )  # fmt: skip


def mismatches(row: Deployment, done: Probe) -> list[str]:
    """What the row says and the server doesn't do."""
    warnings = []
    listed = done.found.get("models", {}).get("ids") or []
    if listed and row.model not in listed:
        near = ", ".join(listed[:5])
        warnings.append(f"The server doesn't list the model {row.model!r}; it lists {near}.")
    for task, name in (("chat", "chat"), ("embedding", "embeddings")):
        if task in row.tasks and done.found.get(name, {}).get("support") == "no":
            warnings.append(
                f"The deployment has the task {task}, and the server refused it: {done.found[name]['why']}"
            )
    if "chat" in row.tasks and done.supports("chat"):
        if not done.supports("stream"):
            warnings.append("It doesn't stream: requests with stream=true will fail there.")
        elif not done.supports("usage_in_stream"):
            warnings.append(
                "Its streams tell no usage: what they cost will be estimated until its bill is matched."
            )
        if done.found.get("max_tokens", {}).get("support") == "ignored":
            warnings.append("It ignores max_tokens: longer answers will be cut at the reserved cost.")
    longest = done.found.get("models", {}).get("max_model_len")
    if longest and row.max_output_tokens > longest:
        warnings.append(
            f"max_output_tokens is {row.max_output_tokens}; the server's whole context has {longest}."
        )
    return warnings


# ------------------------------------------------------------------------------------------------- questions
def _models(done: Probe) -> None:
    status, _, raw = done.target.send("GET", "/models")
    rows = _object(raw).get("data")
    if status != 200 or not isinstance(rows, list):
        done.note("models", "no", f"GET /models answered {status}.")
        return
    named = {row["id"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)}
    if not done.target.model and named:
        done.target = replace(done.target, model=next(iter(named)))
    longest = _whole((named.get(done.target.model) or {}).get("max_model_len")) or None
    done.note("models", "yes", f"{len(named)} models.", ids=sorted(named)[:200], max_model_len=longest)


def _chat(done: Probe) -> None:
    status, told = done.chat()
    name = "max_tokens"
    if status == 400 and "max_completion_tokens" in json.dumps(told):
        name = "max_completion_tokens"
        status, told = done.chat(max_tokens=None, max_completion_tokens=CAP)
    choices = _choices(told)
    if status != 200 or not choices:
        done.note("chat", "no", _why(status, told))
        return
    done.note("chat", "yes")
    usage = told.get("usage")
    done.note("usage", "yes" if isinstance(usage, dict) else "no")
    wrote = _whole((usage or {}).get("completion_tokens")) if isinstance(usage, dict) else 0
    done.note(
        "max_tokens", "ignored" if wrote > CAP else "yes", f"{wrote} tokens for a cap of {CAP}.", name=name
    )
    given = told.get("model")
    if isinstance(given, str) and given != done.target.model:
        done.note("model_name", "ignored", f"It answered as {given!r}.")


def _stream(done: Probe) -> None:
    if not done.supports("chat"):
        return
    body = {
        "model": done.target.model, "messages": ASK, done.found["max_tokens"]["name"]: CAP, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    status, headers, raw = done.target.send("POST", "/chat/completions", body)
    done.calls += 1
    if status != 200 or not headers.get("content-type", "").startswith("text/event-stream"):
        done.note("stream", "no", _why(status, _object(raw)))
        return
    blocks = raw.replace(b"\r\n", b"\n").split(b"\n\n")
    frames = [
        line[5:].strip() for block in blocks for line in block.split(b"\n") if line.startswith(b"data:")
    ]
    told = [_object(frame) for frame in frames if frame != b"[DONE]"]
    ended = bool(frames) and frames[-1] == b"[DONE]"
    done.note("stream", "yes" if told else "no", f"{len(told)} frames{'' if ended else ', no [DONE]'}.")
    usages = [frame["usage"] for frame in told if isinstance(frame.get("usage"), dict)]
    done.note("usage_in_stream", "yes" if usages else "no")
    done._count(usages[-1] if usages else None)


def _tools(done: Probe) -> None:
    def called(told: dict[str, Any]) -> bool:
        return any((c.get("message") or {}).get("tool_calls") for c in _choices(told))

    wanted = {"type": "function", "function": {"name": "note"}}
    _asked(done, "tools", called, tools=[TOOL], tool_choice=wanted)


def _json_schema(done: Probe) -> None:
    def fits(told: dict[str, Any]) -> bool:
        texts = [(c.get("message") or {}).get("content") for c in _choices(told)]
        return any(isinstance(_object((t or "").encode()).get("word"), str) for t in texts)

    _asked(done, "json_schema", fits, response_format=SCHEMA)


def _logprobs(done: Probe) -> None:
    _asked(
        done,
        "logprobs",
        lambda told: any(c.get("logprobs") for c in _choices(told)),
        logprobs=True,
        top_logprobs=1,
    )


def _n(done: Probe) -> None:
    _asked(done, "n", lambda told: len(_choices(told)) == 2, n=2)


def _asked(done: Probe, name: str, kept: Callable[[dict[str, Any]], bool], **more: Any) -> None:
    """yes: done as asked; ignored: answered as if it hadn't been asked; no: refused."""
    if not done.supports("chat"):
        return
    cap = done.found["max_tokens"]["name"]
    more = {cap: 64} | ({"max_tokens": None} if cap != "max_tokens" else {}) | more
    status, told = done.chat(**more)
    if status != 200:
        done.note(name, "no", _why(status, told))
    else:
        done.note(name, "yes" if kept(told) else "ignored")


def _embeddings(done: Probe) -> None:
    status, _, raw = done.target.send("POST", "/embeddings", {"model": done.target.model, "input": "ok"})
    done.calls += 1
    told = _object(raw)
    rows = told.get("data")
    vector = (
        rows[0].get("embedding") if isinstance(rows, list) and rows and isinstance(rows[0], dict) else None
    )
    if status != 200 or not vector:
        done.note("embeddings", "no", _why(status, told))
    else:
        done._count(told.get("usage"))
        done.note("embeddings", "yes", dimensions=len(vector) if isinstance(vector, list) else None)


# ------------------------------------------------------------------------------------------------- reading
def _object(raw: bytes) -> dict[str, Any]:
    try:
        told = json.loads(raw)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _choices(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = told.get("choices")
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []


def _why(status: int, told: Mapping[str, Any]) -> str:
    error = told.get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return f"It answered {status}" + (f": {str(message)[:200]}" if message else ".")


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
