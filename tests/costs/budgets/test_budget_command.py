"""Budgets on the command line: the checks of the form, one organisation at a time."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from costs.models import Budget
from switchyard.audit.models import AuditEvent
from tests import factories

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> Any:
    out = StringIO()
    call_command("budgets", *arguments, stdout=out)
    return json.loads(out.getvalue()) if out.getvalue()[:1] in "[{" else out.getvalue()


@pytest.fixture
def legal(db):
    return factories.make_lob(factories.make_organisation(), slug="legal")


def test_a_budget_is_made_changed_listed_and_removed(legal):
    made = run("create", "lob:legal", "250", "--timezone", "Europe/Berlin", "--rollover", "on")
    assert (made["limit_usd"], made["period"], made["action"], made["rollover"]) == (
        "250.00",
        "month",
        "stop",
        True,
    )
    changed = run(
        "change", "lob:legal", "--limit-usd", "99.5", "--warn-pct", "60", "--rollover-cap-usd", "10"
    )
    assert (changed["limit_usd"], changed["warn_pct"], changed["rollover_cap_usd"]) == ("99.50", 60, "10.00")
    assert changed["timezone"] == "Europe/Berlin", "what isn't named stays"
    assert [row["scope"] for row in run("list")] == ["lob:legal"]
    assert "removed" in run("remove", str(made["id"]))
    assert run("list") == []
    actions = AuditEvent.objects.filter(action__startswith="budget.").order_by("sequence")
    assert [(e.action, e.actor) for e in actions] == [
        (f"budget.{does}", "command line") for does in ("created", "changed", "deleted")
    ]


def test_labels_have_their_own_and_an_outage_may_be_allowed(legal):
    run("create", "lob:legal", "250", "--on-outage", "allow")
    run("create", "lob:legal", "40", "--covers", "labels", "--action", "warn")
    assert {(b.covers, b.on_outage) for b in Budget.objects.all()} == {("all", "allow"), ("labels", "")}
    assert run("change", str(Budget.objects.get(covers="all").pk), "--on-outage", "refuse")["on_outage"] == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("create", "lob:nobody", "1"), "scope: There is no lob"),
        (("create", "lob:legal", "much"), "limit_usd: Enter a number"),
        (("create", "lob:legal", "1", "--timezone", "Mars"), "timezone: Not a time zone"),
        (("create", "lob:legal", "1", "--rollover-cap-usd", "2"), "rollover_cap_usd: Nothing is carried over"),
        (("create", "lob:legal", "1", "--period", "total", "--rollover", "on"), "rollover: A budget without an end"),
        (("change", "lob:legal", "--limit-usd", "1"), "names no budget"),
        (("remove", "99"), "names no budget"),
        (("--organisation", "nobody", "list"), "no organisation"),
    ],
)  # fmt: skip
def test_what_cant_be_is_refused_in_words(legal, arguments, words):
    with pytest.raises(CommandError, match=words):
        run(*arguments)
    assert not Budget.objects.exists()


def test_two_of_one_scope_are_told_apart_and_a_second_of_the_same_period_is_refused(legal):
    run("create", "lob:legal", "1")
    run("create", "lob:legal", "2", "--period", "day")
    with pytest.raises(CommandError, match="more than one"):
        run("change", "lob:legal", "--limit-usd", "3")
    with pytest.raises(CommandError, match="of this period already"):
        run("create", "lob:legal", "3")
    day = Budget.objects.get(period="day")
    with pytest.raises(CommandError, match="of this period already"):
        run("change", str(day.pk), "--period", "month")


def test_another_organisations_budget_is_not_found(legal):
    other = factories.make_lob(factories.make_organisation(slug="other", name="Other"), slug="finance")
    run("--organisation", "other", "create", "lob:finance", "5")
    foreign = str(Budget.objects.get(organisation=other.organisation).pk)
    with pytest.raises(CommandError, match="no budget"):
        run("--organisation", legal.organisation.slug, "remove", foreign)
    assert run("--organisation", legal.organisation.slug, "list") == []
