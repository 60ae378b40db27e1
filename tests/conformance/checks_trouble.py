"""Refusals and upstreams that misbehave, through the official client: run by checks_openai.py."""

import openai
from checks_shared import check, recover, refused, said, user


# -------------------------------------------------------------------------------------------------------------- errors
@check("errors")
def a_bad_key_is_401(client):
    other = client.with_options(api_key="sy_live_no")
    assert refused(openai.AuthenticationError, other.models.list).code == "invalid_api_key"


@check("errors")
def an_unknown_or_foreign_model_is_404(client):
    for model in ("nobody", "contract-clauses"):
        create = client.chat.completions.create
        assert (
            refused(openai.NotFoundError, create, model=model, messages=user("x")).code == "model_not_found"
        )


@check("errors")
def a_malformed_request_is_400_with_its_parameter(client):
    options = {"stream_options": {"include_usage": True}}
    for change, param in (({"messages": []}, "messages"), ({"n": 0}, "n"), (options, "stream_options")):
        error = refused(openai.BadRequestError, said_with, client, change)
        assert error.param == param and error.code == "invalid_value"


def said_with(client, change):
    return client.chat.completions.create(**({"model": "chatter", "messages": user("x")} | change))


@check("errors")
def the_upstreams_word_is_passed_on_where_the_caller_can_mend_it(client):
    error = refused(openai.UnprocessableEntityError, said, client, "misbehave: 422")
    assert error.code == "upstream_rejected" and "temperature" in error.message


@check("upstream")
def broken_answers_are_502(client):
    for what in ("html", "garbage", "no choices", "500", "reset", "redirect"):
        error = refused(openai.InternalServerError, said, client, f"misbehave: {what}")
        assert (error.status_code, error.code) == (502, "upstream_error"), (what, error)
        recover(client)


@check("upstream")
def its_bad_key_is_ours_to_mend(client):
    assert (
        refused(openai.InternalServerError, said, client, "misbehave: 401").code == "upstream_misconfigured"
    )


@check("upstream")
def another_models_name_is_not_shown(client):
    assert said(client, "misbehave: other model").model == "chatter"


@check("upstream")
def missing_and_absurd_usage_is_paid_by_estimate(client):
    for what in ("no usage", "absurd usage"):
        raw = client.chat.completions.with_raw_response.create(
            model="chatter", messages=user(f"misbehave: {what}")
        )
        assert float(raw.headers["x-switchyard-cost-usd"]) > 0, what
        assert raw.parse().choices[0].message.content == "All is well."


@check("upstream")
def a_stream_cut_off_is_an_error(client):
    found = []

    def read():
        for chunk in said(client, "misbehave: cut", stream=True):
            found.append(chunk)

    refused(openai.APIError, read)
    assert found, "what came before the cut was given"
    recover(client)


@check("upstream")
def bytes_split_anywhere(client):
    chunks = list(said(client, "misbehave: split", stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "für alle"
