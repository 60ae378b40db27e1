"""Policies on the command line: the same services, answers for people and as JSON, refusals with their place."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from routing.models import Policy, WhatIf
from tests import factories as make

pytestmark = pytest.mark.django_db
HOME = 'rules:\n  - name: home\n    when: "true"\n    route: {prefer: [private-sparse]}\n'


@pytest.fixture
def company() -> Any:
    organisation = make.make_organisation()
    make.make_workload(make.make_lob(organisation))
    make.make_deployment(organisation, "private-sparse", "private")
    make.make_deployment(organisation, "ext-mini")
    make.make_policy(organisation)
    make.make_user("ann", organisation, "policy_author")
    make.make_user("paul", organisation, "policy_approver")
    return organisation


def run(name: str, *args: str) -> str:
    out = io.StringIO()
    call_command(f"policy_{name}", *args, stdout=out)
    return out.getvalue()


def told(name: str, *args: str) -> Any:
    return json.loads(run(name, *args, "--json"))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policy.yml"
    path.write_text(HOME)
    return str(path)


def test_a_version_lives_on_the_command_line(company: Any, file: str):
    made = told("create", file, "--lob", "customer-service", "--by", "ann", "--note", "home")
    assert (made["label"], made["state"], made["created_by"]) == ("customer-service@1", "draft", "ann")
    assert told("validate", "customer-service@1")["state"] == "validated"
    assert told("publish", "customer-service@1", "--by", "paul")["state"] == "live"
    Path(file).write_text(HOME.replace("name: home", "name: at home"))
    second = told("create", file, "--lob", "customer-service")
    assert told("publish", second["id"], "--percent", "10")["percent"] == 10
    difference = told("diff", "customer-service@1", "customer-service@2")
    assert difference["rules"][0]["kinds"] == ["renamed"]
    assert told("rollback", "--lob", "customer-service")["version"] == 1
    assert [row["label"] for row in told("list", "--lob", "customer-service")] == [
        "customer-service@2",
        "customer-service@1",
    ]
    assert HOME in run("show", "customer-service")
    actions = [row["action"] for row in told("history", "--lob", "customer-service")]
    assert actions[:2] == ["rolled_back", "published"]


def test_what_is_wrong_is_told_with_its_place(company: Any, file: str, tmp_path: Path):
    Path(file).write_text(HOME.replace("prefer: [private-sparse]", "prefer: [private-spars]"))
    for command in (
        ("create", file, "--lob", "customer-service"),
        ("validate", "--file", file, "--lob", "customer-service"),
    ):
        with pytest.raises(CommandError) as error:
            run(*command)
        assert str(error.value).startswith("4:") and "Did you mean 'private-sparse'?" in str(error.value)
    assert told("validate", "--file", file, "--lob", "customer-service")["holds"] is False
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for command in (
        ("create", str(binary)), ("create", str(tmp_path / "nowhere")), ("show", "org@99"), ("show", "nobody"),
        ("create", file, "--lob", "nobody"), ("publish", "org@1", "--percent", "101"), ("publish", "org@1", "--percent", "0"),
        ("validate",), ("try", "org@1", "--facts", "{"), ("try", "org@1"), ("diff", "org@1", "customer-service@1"),
        ("publish", "org@1", "--by", "nobody"), ("what_if", "org@1", "--show"), ("what_if", "org@1", "--days", "0"),
        ("approve", "approve"), ("approve", "ask", "org@1"),
    ):  # fmt: skip
        with pytest.raises(CommandError):
            run(*command)


def test_requests_and_files_are_tried(company: Any, file: str):
    facts = json.dumps({"workload": {"name": "support-sentiment"}})
    out = told("try", "--file", file, "--lob", "customer-service", "--facts", facts)
    assert (out["deployment"], out["live"]["refusal"]) == ("private-sparse", "denied")
    body = json.dumps({"model": "support-sentiment", "input": "hello"})
    text = run("try", "org", "--endpoint", "classifications", "--body", body, "--lob", "customer-service")
    assert "refused: denied" in text and "live now:" in text


def test_four_eyes_on_the_command_line(company: Any, file: str):
    company.four_eyes = True
    company.save()
    with pytest.raises(CommandError, match="--by"):
        run("create", file, "--lob", "customer-service")
    told("create", file, "--lob", "customer-service", "--by", "ann")
    assert (
        told("approve", "ask", "customer-service@1", "--by", "ann", "--reason", "please")["state"]
        == "requested"
    )
    assert "please" in run("approve", "list")
    with pytest.raises(CommandError, match="own_policy"):
        run("approve", "approve", "customer-service@1", "--by", "ann")
    with pytest.raises(CommandError, match="--by"):
        run("publish", "customer-service@1")
    with pytest.raises(CommandError, match="approval_required"):
        run("publish", "customer-service@1", "--by", "ann")
    assert told("approve", "approve", "customer-service@1", "--by", "paul")["decided_by"] == "paul"
    assert told("publish", "customer-service@1", "--by", "ann")["state"] == "live"


def test_a_what_if_is_queued_and_its_report_told(company: Any):
    from tests.switchyard.dashboards.what_if_report import report

    assert told("what_if", "org@1", "--days", "2")["job"].startswith("job_")
    policy = Policy.objects.get()
    WhatIf.objects.create(id="wif_1", policy=policy, days=7, report=report(policy))
    text = run("what_if", "org@1", "--show")
    assert "93.1% → 92.4%" in text and "not enough data   contract-clauses on ext-mini" in text


def test_facts_are_told_without_a_company(db: None):
    assert "data.sensitivity" in run("facts") and "[invariants only]" in run("facts")
