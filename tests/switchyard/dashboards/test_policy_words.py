"""Policy pages in Chinese, hop by hop, and when a deployment is gone: what is said, and to whom."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from modelhub.models import Deployment
from routing.services import policies as services
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of
from tests.switchyard.dashboards.test_policy_pages import HOME, draft

pytestmark = pytest.mark.django_db
ZH = {"accept-language": "zh-hans"}
OUT_AND_HOME = """\
rules:
  - name: out alone
    when: workload.name == "support-intent" && request.stream && data.sensitivity < confidential
    route: {prefer: [ext-mini]}
  - name: out first
    when: data.sensitivity < confidential
    route: {prefer: [ext-mini], fallback: [private-sparse]}
"""


@pytest.fixture
def company() -> Company:
    return make_company(days=1)


def checked(client: Client, document: str, lob: str = "customer-service", **headers: str) -> Any:
    return client.post("/policies/check/", {"document": document, "scope": lob}, headers=headers).json()


def rule(when: str, route: str = "{prefer: [private-sparse]}") -> str:
    return f"rules:\n  - name: r\n    when: '{when}'\n    route: {route}\n"


# --- in the reader's language -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "english", "chinese"),
    [
        (rule("data.sensitivty > internal"), "Unknown field data.sensitivty. Did you mean data.sensitivity?",
         "未知的字段 data.sensitivty。 您是指 data.sensitivity 吗？"),
        (rule("request.tokens_in > 10 && request.tokens_in < 5"), "This condition is never true.", "此条件永远不为真。"),
        (rule("true") + "  - {name: s, when: true, route: {deny: true}}\n", "Unreachable: rule 'r' before it always matches.",
         "无法到达：它之前的规则 'r' 总是匹配。"),
        (rule("true", "{prefer: [ext-mni]}"), "Unknown deployment 'ext-mni'. Did you mean 'ext-mini'?",
         "未知的部署 'ext-mni'。 您是指 'ext-mini' 吗？"),
        (rule("("), "Expected a value, found the end.", "此处应为一个值，实际为 结尾。"),
        ("rules: [", "Not YAML: did not find expected node content.", "不是 YAML：此处应有内容，但未找到。"),
        ("rules: 7", "7 is not of type array.", "7 的类型不是 array。"),
        (rule("true", "{prefer: [private-sparse], falback: []}"), "'falback' was unexpected", "'falback' 不应出现在此处"),
    ],
)  # fmt: skip
def test_faults_are_told_in_the_readers_language_with_the_same_replacement(
    company: Company, document: str, english: str, chinese: str
) -> None:
    client = client_of("ann", company, "policy_author")
    here, there = checked(client, document), checked(client, document, **ZH)
    assert here["faults"][0]["message"].startswith(english)
    assert there["faults"][0]["message"].startswith(chinese)
    assert here["faults"][0]["suggestion"] == there["faults"][0]["suggestion"]
    saved = client.post(
        "/policies/new/", {"document": document, "scope": "customer-service", "note": ""}, headers=ZH
    )
    assert saved.status_code == 400 and chinese[:12] in saved.content.decode().replace("&#x27;", "'")


def test_a_counter_example_is_told_in_chinese_and_by_rest_in_english(company: Company) -> None:
    client = client_of("ann", company, "policy_author")
    document = rule("true", "{prefer: [ext-mini]}")
    told = checked(client, document, "legal", **ZH)
    assert told["faults"][0]["message"].startswith(
        "规则 'r' 会把工作负载 'contract-clauses' 的请求（legal，core，数据 confidential）"
    )
    from switchyard.tenancy.services import create_token

    _row, token = create_token(user=make.make_user("rest", company.organisation, "admin"), name="test")
    answer = Client().post(
        "/api/v1/policies/check", {"document": document, "lob": "legal"}, content_type="application/json",
        headers=ZH | {"authorization": f"Bearer {token}"},
    )  # fmt: skip
    assert answer.json()["faults"][0]["message"].startswith("Rule 'r' would send a request of workload")


def test_stored_warnings_are_read_in_chinese_too(company: Company) -> None:
    new = draft(company, rule("data.sensitivity < confidential", "{prefer: [ext-mini]}"), "customer-service")
    gone = draft(company, rule('workload.name == "nobody"'), "customer-service")
    client = client_of("ann", company, "policy_author")
    assert new.report["warnings"] == []
    assert "匹配" in client.get(f"/policies/{gone.pk}/", headers=ZH).content.decode()
    assert "matches no workload there is today" in client.get(f"/policies/{gone.pk}/").content.decode()
    gone.report.pop("warning_parts")
    gone.save(update_fields=["report"])  # of a release before
    assert (
        "matches no workload there is today"
        in client.get(f"/policies/{gone.pk}/", headers=ZH).content.decode()
    )


def test_refusals_of_services_are_told_in_chinese(company: Company) -> None:
    new = draft(company)
    ann = client_of("ann", company, "policy_approver")
    services.publish(policy=new, user=None)
    answer = ann.post(f"/policies/{draft(company, HOME + '# 2').pk}/publish/", {"percent": "100", "seen": "pol_old"},
                      headers=ZH, follow=True)  # fmt: skip
    assert "其间已有他人发布：现在生效的是 customer-service@2" in answer.content.decode()


# --- each hop -------------------------------------------------------------------------------------------------------


def test_each_hop_is_told_on_the_page_while_writing_and_by_command(company: Company, capsys: Any) -> None:
    from django.core.management import call_command

    client = client_of("ann", company, "policy_author")
    document = rule("true", "{prefer: [private-sparse]}")
    told = checked(client, document)["verdict"]
    assert (
        told.count("<dt>") == 8 and "proven at every hop" not in told
    )  # rows may be asked to leave for training
    new = draft(company, document)
    page = client.get(f"/policies/{new.pk}/").content.decode()
    for hop in ("first choice", "fallback", "retry", "shadow", "judge", "cache", "log", "training"):
        assert f"<dt>{hop}</dt>" in page
    assert "whatever the rules say" in page
    assert "由网关拦住" in client.get(f"/policies/{new.pk}/", headers=ZH).content.decode()
    call_command("policy_validate", new.pk)
    said = capsys.readouterr().out
    assert "retry" in said and "training" in said and "held" in said


# --- a deployment is gone ---------------------------------------------------------------------------------------------


def test_a_version_whose_deployment_is_gone_says_so_and_what_happens_meanwhile(company: Company) -> None:
    new = services.publish(policy=draft(company, OUT_AND_HOME), user=None)
    client = client_of("ann", company, "policy_author")
    for page in ("/policies/", f"/policies/{new.pk}/"):
        assert "no longer there" not in client.get(page).content.decode()
    Deployment.objects.filter(organisation=company.organisation, name="ext-mini").delete()
    for page in ("/policies/", f"/policies/{new.pk}/"):
        text = client.get(page).content.decode()
        assert "<strong>ext-mini</strong>" in text
        assert "requests that the rule “out alone” matches are refused (503)" in text
        assert "已不存在的部署" in client.get(page, headers=ZH).content.decode()
    Deployment.objects.filter(organisation=company.organisation, name="private-sparse").delete()
    text = client.get(f"/policies/{new.pk}/").content.decode()
    assert "requests that the rules “out alone”, “out first” match are refused" in text


def test_what_has_a_fallback_is_passed_over_and_not_refused(company: Company) -> None:
    text = OUT_AND_HOME.partition("  - name: out first")
    new = services.publish(policy=draft(company, "rules:\n" + text[1] + text[2]), user=None)
    Deployment.objects.filter(organisation=company.organisation, name="ext-mini").delete()
    page = client_of("ann", company, "viewer").get(f"/policies/{new.pk}/").content.decode()
    assert "it is passed over" in page and "are refused (503)" not in page


def test_a_neighbour_is_not_told_what_another_line_of_business_names(company: Company) -> None:
    services.publish(policy=draft(company, OUT_AND_HOME), user=None)
    Deployment.objects.filter(organisation=company.organisation, name="ext-mini").delete()
    charlie = client_of("charlie", company, "viewer", "legal")
    text = charlie.get("/policies/").content.decode()
    assert "ext-mini" not in text and "out alone" not in text
    bob = client_of("bob", company, "viewer", "customer-service")
    assert "out alone" in bob.get("/policies/").content.decode()


def test_a_superseded_version_is_not_called_broken(company: Company) -> None:
    old = services.publish(policy=draft(company, OUT_AND_HOME), user=None)
    services.publish(policy=draft(company), user=None)
    Deployment.objects.filter(organisation=company.organisation, name="ext-mini").delete()
    page = client_of("ann", company, "viewer").get(f"/policies/{old.pk}/").content.decode()
    assert "no longer there" not in page
