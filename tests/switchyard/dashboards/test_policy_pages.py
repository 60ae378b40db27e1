"""Pages of policies: what each role sees and may do, what comes back when it is wrong, and from the neighbour's side."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from routing.approvals.models import PolicyApproval
from routing.models import Policy, WhatIf
from routing.services import policies as services
from routing.services.evidence import ask_for_approval
from switchyard.audit.models import AuditEvent
from switchyard.jobs.models import Job
from switchyard.tenancy.models import User
from tests.switchyard.dashboards.company import LOB_POLICY, Company, make_company
from tests.switchyard.dashboards.test_pages import client_of
from tests.switchyard.dashboards.what_if_report import metrics, report

pytestmark = pytest.mark.django_db
HOME = 'rules:\n  - name: home\n    when: "true"\n    route: {prefer: [private-sparse]}\n'
SCOPE = {"scope": "customer-service"}


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


def draft(
    company: Company, document: str = HOME, lob: str | None = "customer-service", user: Any = None
) -> Policy:
    return services.create_draft(
        organisation=company.organisation,
        lob=company.lobs[lob] if lob else None,
        document=document,
        user=user,
        note="home",
    )


def told(answer: Any) -> str:
    """The messages of the page that a form leads to."""
    return " ".join(str(message) for message in answer.context["messages"])


# --- who sees what --------------------------------------------------------------------------------------------------


def pages_of(policy: Policy) -> list[str]:
    return [
        f"/policies/{policy.pk}/",
        f"/policies/{policy.pk}/difference/",
        f"/policies/{policy.pk}/what-if/",
    ]


def test_every_page_is_shown_to_an_administrator(company: Company) -> None:
    client, new = client_of("alice", company, "admin"), draft(company)
    pages = [
        "/policies/", "/policies/new/?scope=customer-service", f"/policies/new/?scope=customer-service&from={new.pk}",
        "/policies/new/", "/policies/try/", "/policies/try/?kind=facts", "/policies/try/?kind=request", "/policies/history/",
        "/policies/history/?scope=customer-service", "/policies/history/?csv=1", "/policies/approvals/",
        "/policies/approvals/?lob=legal", *pages_of(new), f"{pages_of(new)[1]}?against={company.policies['customer-service'].pk}",
    ]  # fmt: skip
    assert {page: client.get(page).status_code for page in pages} == dict.fromkeys(pages, 200)


def test_a_neighbour_meets_404_everywhere(company: Company) -> None:
    new = draft(company, lob="legal")
    row = ask_for_approval(policy=new, user=None)
    client = client_of("bob", company, "admin", "customer-service")
    own = draft(company)
    gets = [
        *pages_of(new), f"/policies/approvals/{row.pk}/", "/policies/history/?scope=legal", "/policies/new/?scope=legal",
        f"{pages_of(own)[1]}?against={new.pk}", f"{pages_of(own)[2]}?report=wif_foreign", "/policies/approvals/?lob=legal",
        "/policies/pol_nobody/", "/policies/pol_%00/", "/policies/history/?scope=%00", "/policies/approvals/apr_%00/",
    ]  # fmt: skip
    assert {page: client.get(page).status_code for page in gets} == dict.fromkeys(gets, 404)
    posts = {
        **{f"/policies/{new.pk}/{action}/": {} for action in ("validate", "ask", "publish", "rollback")},
        **{f"/policies/approvals/{row.pk}/{action}/": {"reason": "x"} for action in ("approve", "send-back", "withdraw")},
        f"/policies/{new.pk}/what-if/start/": {"days": "3"}, "/policies/check/": {"scope": "legal", "document": HOME},
        "/policies/new/": {"scope": "legal", "document": HOME}, f"/policies/{own.pk}/delete/": {},
        f"/policies/{own.pk}/what-if/start/": {"days": "3", "against": new.pk},
        "/policies/try/": {"kind": "text", "workload": "contract-clauses"},
    }  # fmt: skip
    assert {page: client.post(page, data).status_code for page, data in posts.items()} == dict.fromkeys(
        posts, 404
    )
    assert client.post("/policies/try/", {"workload": "support-intent", "policy": new.pk}).status_code == 404
    text = client.get("/policies/approvals/").content.decode() + client.get("/policies/").content.decode()
    assert row.pk not in text and new.pk not in text


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("viewer", set()), ("risk", set()), ("finance", set()), ("policy_author", {"validate", "ask", "check", "start"}),
        ("policy_approver", {"publish", "rollback", "start"}),
    ],
)  # fmt: skip
def test_each_role_does_what_is_its_own(company: Company, role: str, allowed: set[str]) -> None:
    client, new = client_of("rose", company, role), draft(company)
    posts = {
        **{action: f"/policies/{new.pk}/{action}/" for action in ("validate", "ask", "publish", "rollback")},
        "check": "/policies/check/", "start": f"/policies/{new.pk}/what-if/start/",
    }  # fmt: skip
    found = {
        name: client.post(url, SCOPE | {"document": HOME, "days": "3"}).status_code
        for name, url in posts.items()
    }
    assert {name for name, status in found.items() if status != 403} == allowed, found
    assert all(client.get(page).status_code == 200 for page in pages_of(new))


# --- the editor -----------------------------------------------------------------------------------------------------


def test_a_text_is_judged_while_it_is_written(company: Company) -> None:
    client = client_of("ann", company, "policy_author")
    wrong = LOB_POLICY.replace("workload.tier", "workload.teir")
    said = client.post("/policies/check/", SCOPE | {"document": wrong.replace("\n", "\r\n")}).json()
    (fault,) = said["faults"]
    start, end = fault["suggestion"]["start"], fault["suggestion"]["end"]
    assert wrong[:start] + fault["suggestion"]["text"] + wrong[end:] == LOB_POLICY
    assert (
        'data-line="3"' in said["verdict"]
        and "Write “workload.tier”" in said["verdict"]
        and not said["holds"]
    )
    good = client.post("/policies/check/", SCOPE | {"document": LOB_POLICY}).json()
    assert good["holds"] and "no request can break an invariant" in good["verdict"]
    assert Policy.objects.filter(lob=company.lobs["customer-service"]).count() == 1


def test_a_counter_example_is_told_in_words(company: Company) -> None:
    client = client_of("ann", company, "policy_author")
    leak = HOME.replace("private-sparse", "ext-mini")
    said = client.post("/policies/check/", {"scope": "legal", "document": leak}).json()["verdict"]
    assert (
        "A request of legal for contract-clauses, with confidential data, would reach ext-mini (external)"
        in said
    )
    assert (
        "as the first choice by the rule “home”. The invariant “restricted data stays home” forbids it."
        in said
    )


def test_what_is_written_is_shown_escaped(company: Company) -> None:
    client = client_of("ann", company, "policy_author")
    nasty = HOME.replace("name: home", 'name: "<script>alert(1)</script>"').replace(
        "private-sparse", "</textarea><b>"
    )
    said = client.post("/policies/check/", SCOPE | {"document": nasty}).json()["verdict"]
    page = client.post("/policies/new/", SCOPE | {"document": nasty, "note": "<i>"})
    assert page.status_code == 400
    assert (
        "<b>" not in said
        and "<script>alert" not in page.content.decode()
        and "</textarea><b>" not in page.content.decode()
    )


@pytest.mark.parametrize(
    "document", ["", "x" * 300_000, "\x00", "%PDF\x01", "[" * 4000, HOME.replace("true", "(" * 1800)]
)
def test_nonsense_is_refused_in_words_and_given_back(company: Company, document: str) -> None:
    client = client_of("ann", company, "policy_author")
    said = client.post("/policies/check/", SCOPE | {"document": document})
    assert said.status_code == 200 and said.json()["faults"][0]["message"]
    page = client.post("/policies/new/", SCOPE | {"document": document, "note": "mine"})
    assert page.status_code == 400 and page.context["document"] == document and page.context["note"] == "mine"


def test_somebody_elses_version_meanwhile_loses_nothing(company: Company) -> None:
    client = client_of("ann", company, "policy_author")
    opened = client.get("/policies/new/?scope=customer-service").context["base"]
    theirs = draft(company, HOME + "# theirs\n")
    mine = SCOPE | {"document": HOME + "# mine\n", "note": "mine", "base": opened}
    page = client.post("/policies/new/", mine)
    assert (
        page.status_code == 409
        and page.context["document"] == mine["document"]
        and page.context["note"] == "mine"
    )
    text = page.content.decode()
    assert (
        f"Version {theirs.version} was saved by" in text
        and f"/policies/{theirs.pk}/difference/?against={opened}" in text
    )
    again = client.post("/policies/new/", mine | {"base": page.context["base"]}, headers={"X-Editor": "1"})
    assert again.status_code == 201
    assert Policy.objects.get(pk=again.json()["location"].split("/")[2]).document == mine["document"]


def test_without_a_session_the_editor_is_sent_to_the_login(company: Company) -> None:
    answer = Client().post("/policies/check/", SCOPE | {"document": HOME})
    assert answer.status_code == 302 and answer["Location"].startswith("/login/")


# --- try ------------------------------------------------------------------------------------------------------------


def tried(client: Client, **data: str) -> Any:
    return client.post("/policies/try/", data)


def test_an_unsaved_text_is_tried_beside_what_is_live(company: Company) -> None:
    client = client_of("ann", company, "policy_author")
    answer = tried(
        client, kind="text", workload="support-intent", document=HOME, scope="customer-service", part="1"
    )
    assert (
        answer.context["tried"]["deployment"] == "private-sparse"
        and answer.context["live"]["deployment"] == "ext-mini"
    )
    assert "different from what is live" in answer.content.decode() and "<html" not in answer.content.decode()
    wrong = tried(
        client,
        kind="text",
        workload="support-intent",
        document="rules: 7",
        scope="customer-service",
        part="1",
    )
    assert wrong.status_code == 400 and wrong.context["faults"]


def test_an_unsaved_text_is_tried_by_authors_alone(company: Company) -> None:
    vera = client_of("vera", company, "viewer")
    assert tried(vera, workload="support-intent", document=HOME, scope="customer-service").status_code == 404


def test_facts_and_whole_requests_are_tried(company: Company) -> None:
    client = client_of("vera", company, "viewer")
    facts = tried(
        client,
        kind="facts",
        facts='{"workload": {"name": "support-intent"}, "data": {"sensitivity": "restricted"}}',
    )
    assert facts.context["tried"]["deployment"] == "private-sparse" and facts.context["same"]
    body = '{"model": "support-intent", "input": "hello"}'
    whole = tried(
        client, kind="request", endpoint="classifications", body=body, **{"for": "customer-service"}
    )
    assert whole.context["tried"]["deployment"] == "ext-mini"
    assert "$" in whole.content.decode() and "edge goes out" in whole.content.decode()


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "facts", "facts": "{"}, {"kind": "facts", "facts": "[" * 9000},
        {"kind": "facts", "facts": '{"data.sensitivty": 1}'},
        {"kind": "request", "endpoint": "nowhere", "body": "{}", "for": "legal"}, {"kind": "request", "body": "", "for": "legal"},
        {"kind": "text", "workload": "support-intent", "sensitivity": "cosmic"},
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_said(company: Company, data: dict[str, str]) -> None:
    answer = client_of("vera", company, "viewer").post("/policies/try/", data)
    assert answer.status_code == 400 and answer.context["faults"]
    if "facts" in data:
        assert data["facts"][:20] in answer.content.decode().replace("&quot;", '"'), (
            "what was typed comes back"
        )


def test_a_trial_is_stored_and_logged_nowhere(company: Company, caplog: Any) -> None:
    before = AuditEvent.objects.count()
    secret = "Zaphod Beeblebrox, DE89 3704 0044 0532 0130 00"
    tried(client_of("vera", company, "viewer"), workload="support-intent", text=secret)
    assert AuditEvent.objects.count() == before and "Zaphod" not in caplog.text


# --- difference and what-if -----------------------------------------------------------------------------------------


def test_a_difference_is_shown_by_rule_by_text_and_by_effect(company: Company) -> None:
    client, new, old = (
        client_of("alice", company, "admin"),
        draft(company),
        company.policies["customer-service"],
    )
    text = client.get(f"/policies/{new.pk}/difference/").content.decode()
    assert (
        '<span class="badge warn">renamed</span>' in text and '<span class="badge bad">removed</span>' in text
    )
    assert "These two have not been replayed against each other." in text
    WhatIf.objects.create(id="wif_1", policy=new, against=old, days=7, report=report(new, old))
    text = client.get(f"/policies/{new.pk}/difference/?against={old.pk}").content.decode()
    assert "93.1 % → 92.4 %" in text and "?report=wif_1" in text


def test_a_replay_is_queued_once_and_waited_for(company: Company) -> None:
    client, new = client_of("ann", company, "policy_author"), draft(company)
    assert "Not replayed yet" in client.get(f"/policies/{new.pk}/what-if/").content.decode()
    for _ in range(2):
        answer = client.post(f"/policies/{new.pk}/what-if/start/", {"days": "7"}, follow=True)
    assert Job.objects.filter(kind="what_if").count() == 1
    assert "under way" in answer.content.decode()
    for days in ("0", "91", "many", "", "-3", "9" * 40, "７"):
        assert "expected 1 to 90" in told(
            client.post(f"/policies/{new.pk}/what-if/start/", {"days": days}, follow=True)
        )
    Job.objects.filter(kind="what_if").update(state="failed", error="no records")
    assert "The replay failed:" in client.get(f"/policies/{new.pk}/what-if/").content.decode()


def test_a_report_has_tables_csvs_and_says_what_it_does_not_know(company: Company) -> None:
    new, old = draft(company), company.policies["customer-service"]
    row = WhatIf.objects.create(id="wif_1", policy=new, against=old, days=7, report=report(new, old))
    client = client_of("alice", company, "admin")
    url = f"/policies/{new.pk}/what-if/?report=wif_1"
    text = client.get(url).content.decode()
    assert "Not enough data to say for: contract-clauses." in text and "/decisions/dec_legal_0001/" in text
    assert text.count("data-figure=") == text.count("As a table") >= 5
    for name in (
        "by-lob",
        "by-workload",
        "accuracy",
        "latency",
        "sides",
        "by-day",
        "movers",
        "not-enough",
        "truth",
    ):
        assert client.get(f"{url}&csv={name}")["Content-Type"].startswith("text/csv"), name
    assert "-0.003" in client.get(f"{url}&csv=by-workload").content.decode()
    assert client.get(f"{url}&csv=nothing").status_code == 404
    told_truth = {
        "predicted": "0.1",
        "expected": "0.11",
        "low": "0.09",
        "high": "0.12",
        "actual": "0.108",
        "error_pct": -1.8,
    }
    row.truth = {
        "totals": {"requests": 900, "verdict": "enough", "cost": told_truth | {"held": True}},
        "workloads": [],
    }
    row.save()
    lines = client.get(f"{url}&csv=truth").content.decode().splitlines()
    assert lines[1] == "all,cost,$0.1,$0.11,$0.09,$0.12,$0.108,'-1.8 %,pass,900"


def test_the_organisations_report_shows_a_reader_of_one_line_that_line(company: Company) -> None:
    live = company.policies["organisation"]
    WhatIf.objects.create(id="wif_1", policy=live, days=7, report=report(live) | {"totals": metrics()})
    text = (
        client_of("bob", company, "viewer", "customer-service")
        .get(f"/policies/{live.pk}/what-if/")
        .content.decode()
    )
    assert "support-intent" in text and "contract-clauses" not in text and "dec_legal" not in text
    assert "Change of cost</dt>" not in text, "no totals of everybody"


# --- rollout, approval, history -------------------------------------------------------------------------------------


@pytest.mark.parametrize("percent", ["0", "101", "-1", "half", "", "1.5", "9" * 5000, "５０"])
def test_a_percentage_that_is_none_is_refused_in_words(company: Company, percent: str) -> None:
    client, new = client_of("paul", company, "policy_approver"), draft(company)
    assert "from 1 to 100" in told(
        client.post(f"/policies/{new.pk}/publish/", {"percent": percent}, follow=True)
    )
    new.refresh_from_db()
    assert new.state == "draft"


def test_two_tabs_publishing_meet_each_other(company: Company) -> None:
    client = client_of("paul", company, "policy_approver")
    first, second, seen = (
        draft(company),
        draft(company, HOME + "# 2\n"),
        company.policies["customer-service"].pk,
    )
    client.post(f"/policies/{first.pk}/publish/", {"percent": "100", "seen": seen})
    refused = client.post(f"/policies/{second.pk}/publish/", {"percent": "100", "seen": seen}, follow=True)
    assert f"customer-service@{first.version} is live now" in told(refused)
    states = dict(Policy.objects.filter(lob=company.lobs["customer-service"]).values_list("version", "state"))
    assert states == {1: "superseded", 2: "live", 3: "draft"}
    client.post(f"/policies/{second.pk}/publish/", {"percent": "10", "seen": first.pk})
    second.refresh_from_db()
    assert (second.state, second.percent) == ("live", 10)


def test_an_approval_walks_through_the_queue(company: Company) -> None:
    company.organisation.four_eyes = True
    company.organisation.save()
    ann, paul = (
        client_of("ann", company, "admin"),
        client_of("paul", company, "policy_approver", "customer-service"),
    )
    new = draft(company, user=User.objects.get(username="ann"))
    assert "somebody else than the author" in told(
        ann.post(f"/policies/{new.pk}/publish/", {"percent": "100"}, follow=True)
    )
    ann.post(f"/policies/{new.pk}/ask/", {"note": "please look"})
    row = PolicyApproval.objects.get()
    assert "waiting for you" not in ann.get("/policies/").content.decode()
    text = paul.get("/").content.decode()
    assert "waiting for you" in text
    page = paul.get(f"/policies/approvals/{row.pk}/").content.decode()
    assert (
        "please look" in page
        and "no request can break an invariant" in page
        and "No what-if was made" in page
    )
    assert "somebody else must decide" in ann.get(f"/policies/approvals/{row.pk}/").content.decode()
    assert "Four eyes" in told(ann.post(f"/policies/approvals/{row.pk}/approve/", follow=True))
    assert "Say why" in told(
        paul.post(f"/policies/approvals/{row.pk}/send-back/", {"reason": " "}, follow=True)
    )
    paul.post(f"/policies/approvals/{row.pk}/approve/", {"reason": "read"})
    ann.post(f"/policies/{new.pk}/publish/", {"percent": "100"})
    new.refresh_from_db()
    assert (new.state, new.approved_by.username) == ("live", "paul")
    history = ann.get("/policies/history/?scope=customer-service").content.decode()
    assert history.index("published") < history.index("approved") < history.index("approval asked for")


def test_a_stale_request_can_only_be_sent_back(company: Company) -> None:
    new = draft(company)
    row = ask_for_approval(policy=new, user=None)
    company.workloads["customer-service"].sensitivity = "confidential"
    company.workloads["customer-service"].save()
    paul = client_of("paul", company, "policy_approver")
    assert "out of date" in paul.get(f"/policies/approvals/{row.pk}/").content.decode()
    assert "out of date" in told(paul.post(f"/policies/approvals/{row.pk}/approve/", follow=True))
    paul.post(f"/policies/approvals/{row.pk}/send-back/", {"reason": "ask again"})
    assert (
        "Sent back by paul"
        in client_of("ann", company, "policy_author").get(f"/policies/{new.pk}/").content.decode()
    )


def test_history_rolls_back_with_one_click(company: Company) -> None:
    paul, new = client_of("paul", company, "policy_approver"), draft(company)
    paul.post(f"/policies/{new.pk}/publish/", {"percent": "25"})
    page = paul.get("/policies/history/?scope=customer-service").content.decode()
    assert "Roll back to version 1" in page and "25 %" in page
    paul.post(f"/policies/{new.pk}/rollback/", {"reason": "too dear"})
    assert "no longer live" in told(paul.post(f"/policies/{new.pk}/rollback/", follow=True)), "pressed twice"
    assert "too dear" in paul.get("/policies/history/?scope=customer-service").content.decode()
    assert Policy.objects.get(lob=company.lobs["customer-service"], state="live").version == 1
    assert (
        "Roll back to version"
        not in client_of("vera", company, "viewer").get("/policies/history/").content.decode()
    )
    csv = paul.get("/policies/history/?scope=customer-service&csv=1").content.decode()
    assert csv.splitlines()[0] == "Time,By,Action,Version,Detail" and "rolled_back" in csv
