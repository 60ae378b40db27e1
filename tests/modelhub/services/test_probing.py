"""What a server supports, found by asking it: one that does all, one that ignores, one that refuses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from aiohttp import web
from django.core.management import CommandError, call_command

from modelhub.models import Deployment
from modelhub.services.probing import Target, probe, probe_deployment
from modelhub.services.upstream_headers import checked_headers
from switchyard.core.errors import InvalidRequest, UpstreamFailure
from tests import factories


class Server:
    """Speaks the shape as its manners say; keeps every request's headers."""

    def __init__(self, *, manners: str = "able", wants: dict[str, str] | None = None) -> None:
        self.manners, self.wants = manners, wants or {"authorization": "Bearer upstream-key"}
        self.seen: list[dict[str, Any]] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/{path:.*}", self.post)
        return app

    async def models(self, request: web.Request) -> web.Response:
        if self.manners == "poor":
            return web.json_response({}, status=404)
        return web.json_response({"data": [{"id": "m-1", "max_model_len": 2048}, {"id": "m-2"}]})

    async def post(self, request: web.Request) -> web.StreamResponse:
        if any(request.headers.get(name) != value for name, value in self.wants.items()):
            return web.json_response({"error": {"message": "who are you"}}, status=401)
        body = await request.json()
        self.seen.append(body | {"path": request.match_info["path"]})
        if request.match_info["path"] == "embeddings":
            if self.manners != "able":
                return web.json_response({"error": {"message": "no such endpoint"}}, status=404)
            return web.json_response(
                {"data": [{"embedding": [0.1, 0.2, 0.3]}], "usage": {"prompt_tokens": 1}}
            )
        if self.manners == "newer" and "max_tokens" in body:
            return web.json_response({"error": {"message": "use max_completion_tokens"}}, status=400)
        refused = {"tools", "response_format", "logprobs", "n"} & set(body)
        if self.manners == "poor" and (refused or body.get("stream")):
            return web.json_response({"error": {"message": f"{sorted(refused)} unknown"}}, status=422)
        return self.stream() if body.get("stream") else web.json_response(self.answer(body))

    def stream(self) -> web.Response:
        frames = [{"choices": [{"index": 0, "delta": {"content": "ok"}}]}]
        if self.manners != "silent":
            frames.append({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 1}})
        text = "".join(f"data: {json.dumps(f)}\r\n\r\n" for f in frames) + "data: [DONE]\r\n\r\n"
        return web.Response(text=text, content_type="text/event-stream")

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "ok"}
        able = self.manners in ("able", "newer")
        if able and "tools" in body:
            message |= {"tool_calls": [{"id": "1", "function": {"name": "note", "arguments": "{}"}}]}
        if able and "response_format" in body:
            message["content"] = '{"word": "ok"}'
        count = body.get("n", 1) if able else 1
        logprobs = {"content": []} if body.get("logprobs") and not able else {"content": [{"token": "ok"}]}
        choices = [
            {"index": i, "message": message, "logprobs": logprobs if able else None} for i in range(count)
        ]
        wrote = 900 if self.manners == "silent" else 2
        return {
            "model": body["model"],
            "choices": choices,
            "usage": {"prompt_tokens": 5, "completion_tokens": wrote},
        }


@contextmanager
def served(server: Server) -> Iterator[str]:
    loop, ready, found = asyncio.new_event_loop(), threading.Event(), []

    async def start() -> None:
        runner = web.AppRunner(server.app(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.append(runner.addresses[0][1])
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield f"http://127.0.0.1:{found[0]}/v1"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def support(told: dict[str, Any]) -> dict[str, str]:
    return {name: found["support"] for name, found in told["found"].items()}


def test_a_server_that_does_all_of_it() -> None:
    with served(Server()) as url:
        told = probe(Target(url, "m-1", "upstream-key")).as_json()
    names = ("models", "chat", "usage", "max_tokens", "stream", "usage_in_stream", "tools", "json_schema", "logprobs", "n",
             "embeddings")  # fmt: skip
    assert support(told) == dict.fromkeys(names, "yes")
    assert told["found"]["models"]["max_model_len"] == 2048 and told["found"]["embeddings"]["dimensions"] == 3
    assert told["used"]["calls"] == 7 and told["used"]["tokens_in"] == 31


def test_what_is_ignored_is_told_apart_from_what_is_refused() -> None:
    with served(Server(manners="silent")) as url:
        ignoring = support(probe(Target(url, "m-1", "upstream-key")).as_json())
    with served(Server(manners="poor")) as url:
        refusing = probe(Target(url, "m-1", "upstream-key")).as_json()
    asked = ("tools", "json_schema", "logprobs", "n", "max_tokens")
    assert {ignoring[name] for name in asked} == {"ignored"} and ignoring["usage_in_stream"] == "no"
    assert {support(refusing)[name] for name in (*asked[:-1], "stream", "embeddings", "models")} == {"no"}
    assert "unknown" in refusing["found"]["tools"]["why"]


def test_a_server_with_the_newer_cap_is_asked_by_it() -> None:
    with served(server := Server(manners="newer")) as url:
        told = probe(Target(url, "", "upstream-key")).as_json()
    assert told["model"] == "m-1" and told["found"]["max_tokens"]["name"] == "max_completion_tokens"
    assert support(told)["tools"] == "yes" and "max_tokens" not in server.seen[-2]


def test_headers_stand_beside_the_key_or_in_its_place() -> None:
    with served(Server(wants={"api-key": "azure"})) as url:
        assert support(probe(Target(url, "m-1", "", {"api-key": "azure"})).as_json())["chat"] == "yes"
        assert support(probe(Target(url, "m-1", "wrong")).as_json())["chat"] == "no"


@pytest.mark.django_db
def test_what_was_found_is_kept_on_the_deployment_with_what_does_not_fit() -> None:
    organisation = factories.make_organisation()
    with served(Server(manners="silent")) as url:
        row = factories.make_deployment(
            organisation,
            "own",
            "private",
            base_url=url,
            model="m-9",
            tasks=["chat", "embedding"],
            max_output_tokens=4096,
        )
        probe_deployment(row)
        out = StringIO()
        call_command("probe_upstream", "own", stdout=out, stderr=(err := StringIO()))
    kept = Deployment.objects.get(pk=row.pk).capabilities
    assert kept["found"]["chat"]["support"] == "yes" and "tools\tignored" in out.getvalue()
    assert err.getvalue().count("warning:") == len(kept["warnings"]) == 4
    for words in ("doesn't list the model 'm-9'", "task embedding", "tell no usage", "ignores max_tokens"):
        assert any(words in warning for warning in kept["warnings"])


@pytest.mark.django_db
def test_the_command_takes_urls_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    factories.make_organisation()
    monkeypatch.setenv("THE_KEY", "upstream-key")
    with served(Server()) as url:
        out = StringIO()
        call_command("probe_upstream", url, "--key-env", "THE_KEY", "--json", stdout=out)
        assert json.loads(out.getvalue())["found"]["chat"]["support"] == "yes"
    for words in (["nobody"], ["http://169.254.169.254/v1"], [url, "--key-env", "NO_SUCH"], [url]):
        with pytest.raises(CommandError):
            call_command("probe_upstream", *words)


def test_an_address_that_may_not_be_called_is_not(settings: Any) -> None:
    with pytest.raises(InvalidRequest):
        probe(Target("http://169.254.169.254/v1", "m"))
    with pytest.raises(UpstreamFailure):
        probe(Target("http://127.0.0.1:9/v1", "m"))


@pytest.mark.parametrize(
    "headers",
    [{"Host": "x"}, {"content-length": "3"}, {"a b": "x"}, {"x-a": "1\r\nx-b: 2"}, {"x-a": ""}, {"x-a": 3},
     {"X-A": "1", "x-a": "2"}, {f"x-{i}": "1" for i in range(17)}, {"x-a": "é"}],
)  # fmt: skip
def test_headers_that_could_do_harm_are_refused(headers: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        checked_headers(headers)


def test_headers_are_sealed_at_rest() -> None:
    row = Deployment()
    row.headers = {"api-key": "azure-secret"}
    assert row.headers == {"api-key": "azure-secret"} and "azure" not in row.sealed_headers
    row.headers = {}
    assert row.sealed_headers == ""


@pytest.mark.django_db
def test_a_deployment_whose_server_is_away_says_so() -> None:
    row = factories.make_deployment(factories.make_organisation(), "away", base_url="http://127.0.0.1:9/v1")
    told = probe_deployment(row)
    assert told["found"] == {} and "doesn't answer" in told["warnings"][0]
    assert Deployment.objects.get(pk=row.pk).capabilities == told
