"""/v1/moderations through the official client: policy applies, it is metered, and a private model answers."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from aiohttp import web

from modelhub import artifacts
from modelhub.serving.moderation import UNMEASURED, result_of
from modelhub.serving.runners.risk import RiskModel
from tests.factories import make_workload
from tests.fakes.gateway import RunningGateway

HATE = "All immigrants are vermin and should be shot."
GUARD = RiskModel(artifacts.SHIPPED / "risk-guard")


def judging(gateway: RunningGateway, side: str = "private") -> None:
    """The side's server judges texts as the model server does; the deployment says that it can."""

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        if not request.path.endswith("/moderations"):
            return None
        rows = GUARD.score_kinds(body["input"])
        results = [
            result_of(dict(zip(GUARD.kinds, map(float, row), strict=True)), GUARD.threshold) for row in rows
        ]
        usage = {
            "input_tokens": 9,
            "output_tokens": len(rows),
            "total_tokens": 9 + len(rows),
            "accelerator_ns": 40_000,
        }
        return web.json_response({"id": "modr", "model": body["model"], "results": results, "usage": usage})

    from modelhub.models import Deployment

    upstream = gateway.private if side == "private" else gateway.external
    upstream.always(answer)
    row = Deployment.objects.get(name="private-a" if side == "private" else "ext-a")
    row.tasks = [*row.tasks, "moderation"]
    row.save()
    make_workload(gateway.company.service, "screening", task="moderation")
    from switchyard.tenancy.services import bump_config

    bump_config()
    gateway.refresh()


def test_the_official_client_gets_categories_scores_and_flags_without_naming_a_model(
    gateway: RunningGateway,
) -> None:
    judging(gateway)
    answer = gateway.openai().moderations.create(input=[HATE, "When will my parcel arrive?"])
    assert answer.id.startswith("modr_") and answer.model == "screening"
    first, second = answer.results
    assert first.flagged and first.categories.hate and first.category_scores.hate > 0.7
    assert not second.flagged and not second.categories.hate and not second.categories.violence
    extra = first.model_extra or {}
    assert set(extra["switchyard"]["not_measured"]) == set(UNMEASURED)
    event = gateway.events()[0]
    assert (event["task"], event["endpoint"], event["answers"]) == ("moderation", "moderations", 2)
    assert (
        event["side"] == "private"
        and event["cost_nusd"] > 0
        and event["attempts"][0]["accelerator_ns"] == 40_000
    )


def test_our_own_kinds_stand_beside_openais_names(gateway: RunningGateway) -> None:
    judging(gateway)
    with gateway.client() as client:
        body = {"model": "omni-moderation-latest", "input": [{"type": "text", "text": HATE}]}
        told = client.post("/v1/moderations", json=body).json()["results"][0]
    assert {"stereotype", "disparate_treatment", "harm", "abuse", "hate", "harassment"} <= set(
        told["category_scores"]
    )
    assert told["category_scores"]["hate"] == told["category_scores"]["harm"] and told["categories"]["harm"]


def test_policy_and_bad_input_are_answered_like_any_call(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        none = client.post("/v1/moderations", json={"input": "hello"})
        assert none.status_code == 404 and none.json()["error"]["code"] == "model_not_found"
        judging(gateway)
        for bad in ("", [], [1], [{"type": "image_url", "image_url": {}}], None):
            reply = client.post("/v1/moderations", json={"input": bad})
            assert reply.status_code == 400 and reply.json()["error"]["param"] == "input", bad
        assert client.post("/v1/moderations", json={"input": "a", "stream": True}).status_code == 400
        wrong = client.post("/v1/moderations", json={"model": "support-sentiment", "input": "a"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "wrong_endpoint")


def test_a_text_that_must_stay_at_home_is_not_judged_outside(gateway: RunningGateway) -> None:
    judging(gateway, "external")
    with pytest.raises(openai.APIStatusError) as refused:
        gateway.openai().moderations.create(
            input="hello", extra_headers={"X-Switchyard-Sensitivity": "restricted"}
        )
    assert refused.value.status_code in (403, 503)
    assert not any(seen.path.endswith("moderations") for seen in gateway.external.seen)


def test_a_score_that_is_no_number_is_flagged() -> None:
    told = result_of({"stereotype": 0.1, "disparate_treatment": 0.0, "harm": float("nan"), "abuse": 0.2}, 0.8)
    assert told["flagged"] and told["categories"]["harm"] and told["category_scores"]["harm"] == 1.0
    only_abuse = result_of({"stereotype": 0.1, "disparate_treatment": 0.0, "harm": 0.2, "abuse": 0.99}, 0.8)
    assert not only_abuse["flagged"] and only_abuse["categories"]["harassment"]
