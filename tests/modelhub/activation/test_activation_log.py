"""The activation log, from a server's windows to page, REST and command."""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from modelhub.models import ActivationSource, ExpertActivation
from modelhub.selectors.experts import ExpertUse
from modelhub.services import activation
from switchyard.core.clock import now
from switchyard.core.errors import UpstreamFailure
from switchyard.dashboards.views.experts import cells
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


@pytest.fixture
def source(company: Company) -> ActivationSource:
    return ActivationSource.objects.create(
        organisation_id=company.organisation.pk, base_url="http://127.0.0.1:1/v1"
    )


def log(*windows: tuple[int, list[dict[str, Any]]], boot: str = "b1") -> dict[str, Any]:
    started = now().timestamp()
    return {"boot": boot, "dropped_windows": 0,
            "windows": [{"number": n, "started": started, "sums": sums} for n, sums in windows]}  # fmt: skip


def of(head: str, counts: list[list[int]], label: str = "a") -> dict[str, Any]:
    return {"model": "txt-base", "head": head, "label": label, "requests": 1, "tokens": 4, "counts": counts}


def test_windows_are_stored_under_the_line_of_business_of_their_head(
    company: Company, source: ActivationSource
) -> None:
    assert (
        activation.store(
            source, log((7, [of("support-intent", [[1, 3]]), of("contract-clauses@ft-1", [[4, 0]])]))
        )
        == 1
    )
    rows = {row.lob: row.counts.tolist() for row in ExpertActivation.objects.all()}
    assert rows == {"customer-service": [[1, 3]], "legal": [[4, 0]]}


def test_the_same_windows_again_count_nothing(company: Company, source: ActivationSource) -> None:
    for _ in range(2):
        activation.store(source, log((7, [of("support-intent", [[1, 3]])])))
    activation.store(
        source, log((7, [of("support-intent", [[1, 3]])]), (8, [of("support-intent", [[1, 1]])]))
    )
    row = ExpertActivation.objects.get()
    assert row.counts.tolist() == [[2, 4]] and row.requests == 2 and row.tokens == 8


def test_after_a_restart_every_window_is_new(company: Company, source: ActivationSource) -> None:
    activation.store(source, log((7, [of("support-intent", [[1, 3]])])))
    activation.store(source, log((5, [of("support-intent", [[1, 3]])]), boot="b2"))
    assert ExpertActivation.objects.get().counts.tolist() == [[2, 6]]


@pytest.mark.parametrize(
    "bad",
    [
        {"counts": [[-1, 2]]}, {"counts": [[0.5, 2]]}, {"counts": [1, 2]}, {"counts": [[1, 2], [1]]}, {"counts": [["x", 1]]},
        {"counts": [[1e300, 1]]}, {"requests": -1}, {"tokens": None}, {"model": None, "counts": None},
    ],
)  # fmt: skip
def test_a_log_that_cannot_be_right_is_refused_whole(
    company: Company, source: ActivationSource, bad: dict[str, Any]
) -> None:
    good = of("support-intent", [[1, 3]])
    with pytest.raises(UpstreamFailure, match="can't be read"):
        activation.store(source, log((7, [good, good | bad])))
    assert not ExpertActivation.objects.exists()


def test_a_server_that_does_not_answer_has_its_fault_noted(company: Company) -> None:
    assert activation.collect(company.organisation.pk) == 0
    assert ActivationSource.objects.get().fault


def test_counts_of_another_build_are_left_out(company: Company, source: ActivationSource) -> None:
    from modelhub.selectors.experts import expert_use
    from switchyard.tenancy.querysets import Scope

    activation.store(source, log((7, [of("support-intent", [[1, 3]])])))
    activation.store(source, log((8, [of("support-intent", [[1, 3], [2, 2]])])))
    scope = Scope(company.organisation.pk, None, None, frozenset({"viewer"}))
    today = now().astimezone(UTC).date()
    use = expert_use(scope=scope, model="txt-base", start=today, end=today)
    assert use is not None and use.total.tolist() == [[1, 3], [2, 2]]


def test_training_counts_stand_beside_serving_ones(company: Company, source: ActivationSource) -> None:
    one = activation.Sum("txt-base", "support-intent", "card", 3, 12, np.array([[5, 7]]))
    day = now().date()
    activation.record_training(
        organisation_id=company.organisation.pk, lob="customer-service", day=day, sums=[one]
    )
    activation.store(source, log((7, [of("support-intent", [[1, 3]])])))
    assert sorted(ExpertActivation.objects.values_list("source", flat=True)) == ["serving", "training"]


def filled(company: Company, source: ActivationSource) -> None:
    hot = [[90, 4, 3, 3], [25, 25, 25, 25]]
    activation.store(
        source,
        log(
            (
                7,
                [
                    of("support-intent", hot, "card lost"),
                    of("contract-clauses", [[0, 9, 9, 9]] * 2, "Renewal"),
                ],
            )
        ),
    )


def client_of(name: str, company: Company, role: str, *lobs: str) -> Client:
    client = Client()
    client.force_login(
        make.make_user(name, company.organisation, role, tuple(company.lobs[slug] for slug in lobs))
    )
    return client


def test_the_page_shows_hot_experts_heat_maps_and_a_plan(company: Company, source: ActivationSource) -> None:
    filled(company, source)
    text = client_of("alice", company, "admin").get("/experts/?devices=2&redundant=2").content.decode()
    assert "card lost" in text and "Renewal" in text and "heatmap" in text
    refused = client_of("amy", company, "admin").get("/experts/?devices=3").content.decode()
    assert "multiple of 3" in refused


def test_the_model_with_most_tokens_is_shown_first_though_another_comes_before_it_by_name(
    company: Company, source: ActivationSource
) -> None:
    rare = of("support-intent", [[1, 3]]) | {"model": "lm-tiny", "tokens": 1}
    activation.store(source, log((7, [rare, of("support-intent", [[1, 3]])])))
    client = client_of("alice", company, "admin")
    assert "<option selected>txt-base</option>" in client.get("/experts/").content.decode()
    assert [row["model"] for row in client.get("/api/v1/experts").json()["results"]] == [
        "txt-base",
        "lm-tiny",
    ]


@pytest.mark.parametrize(("tokens", "told"), [(99, False), (100, True)])
def test_an_expert_is_called_superfluous_only_when_enough_was_counted(
    company: Company, source: ActivationSource, tokens: int, told: bool
) -> None:
    """Four experts: an even share is a quarter of all that was counted in the layer."""
    activation.store(source, log((7, [of("support-intent", [[4 * tokens - 2, 1, 1, 0]])])))
    text = client_of("alice", company, "admin").get("/experts/").content.decode()
    assert ("under a tenth of an even share" in text) is told
    assert ("Too little was counted to say" in text) is not told
    found = client_of("anna", company, "admin").get("/api/v1/experts/txt-base").json()
    assert bool(found["suggestions"]) is told


def test_an_expert_that_nobody_used_is_blank_and_not_little_used(
    company: Company, source: ActivationSource
) -> None:
    use = ExpertUse("txt-base", "serving", np.array([[10, 0, 30]]))
    assert cells(np.array([[2, 0, 6]]), use) == [1.0, None, 1.0]


def test_the_page_tells_a_reader_of_one_line_of_business_nothing_of_the_others(
    company: Company, source: ActivationSource
) -> None:
    filled(company, source)
    client = client_of("bob", company, "viewer", "customer-service")
    for path in (
        "/experts/",
        "/experts/?csv=experts-by-label",
        "/api/v1/activations",
        "/api/v1/experts/txt-base",
    ):
        text = client.get(path).content.decode()
        assert "Renewal" not in text and "legal" not in text, path
    assert client.get("/experts/?lob=legal").status_code == 404
    assert client.get("/api/v1/experts/txt-base?lob=legal").status_code == 404


def test_nobodys_counts_are_for_those_who_see_the_whole_organisation(
    company: Company, source: ActivationSource
) -> None:
    activation.store(source, log((7, [of("unheard-of", [[1, 3]])])))
    assert client_of("bob", company, "viewer", "legal").get("/api/v1/experts").json()["results"] == []
    assert client_of("alice", company, "admin").get("/api/v1/experts").json()["results"] == [
        {"model": "txt-base"}
    ]


def test_rest_gives_sums_and_what_they_say(company: Company, source: ActivationSource) -> None:
    filled(company, source)
    client = client_of("alice", company, "admin")
    rows = client.get("/api/v1/activations?lob=customer-service").json()["results"]
    assert rows[0]["counts"][0] == [90, 4, 3, 3]
    found = client.get("/api/v1/experts/txt-base?devices=2&redundant=2").json()
    assert found["layers"][0]["hot"] == [0] and found["vllm"]["eplb_config"]["num_redundant_experts"] == 2
    assert {one["lob"] for one in found["lobs"]} == {"customer-service", "legal"}
    assert client.get("/api/v1/experts/txt-base?devices=3").status_code == 400
    assert client.get("/api/v1/experts/txt-base?devices=0").status_code == 400
    assert client.get("/api/v1/experts/unheard").status_code == 404


def test_the_command_prints_the_same_and_says_what_is_missing(
    company: Company, source: ActivationSource
) -> None:
    filled(company, source)
    out = StringIO()
    call_command("experts", "txt-base", stdout=out)
    assert json.loads(out.getvalue())["layers"][0]["hot"] == [0]
    with pytest.raises(CommandError, match="Nothing was counted"):
        call_command("experts", "other")
    with pytest.raises(CommandError, match="multiple of 3"):
        call_command("experts", "txt-base", devices=3)
    long_ago = now().date() - timedelta(days=100)
    with pytest.raises(CommandError, match="Nothing was counted"):
        call_command("experts", "txt-base", end=long_ago)
