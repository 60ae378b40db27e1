"""Top-ups and alerts on the command line: the same services, the same rights."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from costs.alerts import raise_alert
from costs.models import BudgetExtra
from costs.notify import targets
from tests import factories
from tests.costs.budgets.rows import make_row
from tests.costs.notify.receiver import receiving

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def legal(db):
    lob = factories.make_lob(factories.make_organisation(), slug="legal")
    for name in ("fiona", "frank"):
        factories.make_user(name, lob.organisation, "finance")
    return lob


def test_a_top_up_is_asked_for_by_one_and_approved_by_another(legal):
    make_row(legal)
    asked = run("top_up", "--as", "fiona", "ask", "lob:legal", "2.5", "quarter end")
    extra = BudgetExtra.objects.get()
    assert "$2.50" in asked and "requested" in asked and "fiona: quarter end" in asked
    with pytest.raises(CommandError, match="somebody other"):
        run("top_up", "--as", "fiona", "approve", str(extra.pk))
    assert "approved" in run("top_up", "--as", "frank", "approve", str(extra.pk))
    assert "approved" in run("top_up", "--as", "frank", "list")


def test_the_command_knows_the_same_limits_as_the_page(legal):
    make_row(legal)
    make_row(legal, period="month")
    other = factories.make_lob(legal.organisation, "engineering")
    factories.make_user("bob", legal.organisation, "finance", (other,))
    factories.make_user("vera", legal.organisation, "viewer")
    for arguments, words in (
        (("--as", "nobody", "list"), "no active user"),
        (("--as", "vera", "ask", "lob:legal", "1", "r"), "lacks the role"),
        (("--as", "bob", "ask", "lob:legal", "1", "r"), "names no budget"),
        (("--as", "fiona", "ask", "lob:legal", "1", "r"), "more than one"),
        (("--as", "fiona", "ask", "lob:nobody", "1", "r"), "names no budget"),
        (("--as", "fiona", "ask", str(legal.organisation.budgets.first().pk), "much", "r"), "no amount"),
        (("--as", "fiona", "ask", str(legal.organisation.budgets.first().pk), "NaN", "r"), "no amount"),
        (("--as", "fiona", "approve", "99"), "no top-up"),
    ):
        with pytest.raises(CommandError, match=words):
            run("top_up", *arguments)


def test_the_outbox_is_sent_by_hand(legal):
    targets.create_target(
        organisation_id=legal.organisation_id, lob=legal, kind="email", address="a@b.example", user=None
    )
    raise_alert(
        organisation_id=legal.organisation_id,
        kind="books",
        lob="legal",
        subject="s",
        message="m",
        unique_key="1",
    )
    assert run("send_alerts") == "0 gathered, 1 sent, 0 not sent, 0 waiting\n"
    assert len(mail.outbox) == 1


def test_targets_are_added_tried_switched_and_removed(legal):
    with receiving() as receiver:
        added = json.loads(
            run("alert_targets", "add", "webhook", receiver.url, "--lob", "legal", "--kinds", "books")
        )
        assert len(added["secret"]) > 30 and added["lob"] == "legal" and added["kinds"] == ["books"]
        assert "was sent to" in run("alert_targets", "test", str(added["id"]))
        [(_, headers, body)] = receiver.got
        assert json.loads(body)["kind"] == "test" and "command line" in json.loads(body)["message"].lower()
        assert headers["x-switchyard-signature"].startswith("t=")
    with pytest.raises(CommandError, match="has not arrived yet: .*can't be reached"):
        run("alert_targets", "test", str(added["id"]))
    assert json.loads(run("alert_targets", "pause", str(added["id"])))["active"] is False
    assert json.loads(run("alert_targets", "resume", str(added["id"])))["active"] is True
    [listed] = json.loads(run("alert_targets", "list"))
    assert "secret" not in listed and listed["id"] == added["id"]
    assert "is removed" in run("alert_targets", "remove", str(added["id"]))
    assert json.loads(run("alert_targets", "list")) == []


def test_what_is_no_target_is_refused_in_words(legal):
    other = factories.make_lob(factories.make_organisation(slug="other", name="Other"), "plant")
    made, _ = targets.create_target(
        organisation_id=other.organisation_id, lob=other, kind="email", address="a@b.example", user=None
    )
    own = ("--organisation", legal.organisation.slug)
    for arguments, words in (
        ((*own, "add", "email", "nobody"), "no e-mail address"),
        ((*own, "add", "webhook", "http://169.254.169.254/"), "never an upstream"),
        ((*own, "add", "email", "a@b.example", "--lob", "plant"), "no line of business"),
        ((*own, "test", str(made.pk)), "no target"),
        ((*own, "remove", str(made.pk)), "no target"),
        (("list",), "Name one"),
    ):
        with pytest.raises(CommandError, match=words):
            run("alert_targets", *arguments)
    assert json.loads(run("alert_targets", *own, "list")) == []


def _raised(legal, kind, lob=""):
    return raise_alert(
        organisation_id=legal.organisation_id, kind=kind, subject="x", message=f"{kind} of {lob or 'all'}", unique_key=kind + lob,
        lob=lob, cause="a loop",
    )  # fmt: skip


def test_alerts_are_listed_and_resolved_by_who_may(legal):
    factories.make_user("victor", legal.organisation, "viewer")
    other = factories.make_lob(legal.organisation, slug="healthcare")
    factories.make_user("nina", legal.organisation, "finance", (other,))
    limit, gap = _raised(legal, "budget_limit", "legal"), _raised(legal, "bill_gap")
    assert run("alerts", "list").splitlines()[1].endswith("budget_limit of legal\ta loop")
    assert [line.split("\t")[0] for line in run("alerts", "list", "--kind", "bill_gap").splitlines()] == [
        str(gap.pk)
    ]
    assert [line.split("\t")[0] for line in run("alerts", "list", "--lob", "legal").splitlines()] == [
        str(limit.pk)
    ]
    for person in ("victor", "nina", "nobody"):
        with pytest.raises(CommandError, match=person):
            run("alerts", "resolve", str(limit.pk), "--as", person)
    assert "\topen\t" not in run("alerts", "resolve", str(limit.pk), "--as", "fiona")
    assert (
        len(run("alerts", "list").splitlines()) == 1 and len(run("alerts", "list", "--all").splitlines()) == 2
    )
    with pytest.raises(CommandError, match="no line of business"):
        run("alerts", "list", "--lob", "lega")
