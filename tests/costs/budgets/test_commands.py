"""Top-ups and alerts on the command line: the same services, the same rights."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core import mail
from django.core.management import CommandError, call_command

from costs.alerts import raise_alert
from costs.models import BudgetExtra
from costs.notify import targets
from tests import factories
from tests.costs.budgets.rows import make_row

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
