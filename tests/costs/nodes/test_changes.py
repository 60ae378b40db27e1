"""Dated versions: one service writes them, the past is restated, both versions are kept and what moved is said."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from costs.models import LedgerEntry, Node, NodeCost, NodeInterval, Restatement, SpendHour
from costs.nodes.changes import change_cost, create_node
from costs.nodes.restate import restate
from costs.nodes.standard import hourly_nusd, node_rates
from costs.nodes.versions import bring_into_force
from costs.rollups import HOUR
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import ConfigVersion
from tests.costs.events import NOON
from tests.costs.nodes.company import START, assert_everything_ties, busy, close, make_node, work
from tests.factories import make_organisation

pytestmark = pytest.mark.django_db


@pytest.fixture
def node(time_machine):
    """Two lines of business worked in the hour of noon; every hour until three is closed."""
    time_machine.move_to(NOON - 2 * HOUR)
    node = make_node()
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal")
    work(node, 450)
    close(node)
    return node


def change(node, start=None, reason="", dry_run=False, **values):
    return change_cost(node=node, values=values, valid_from=start, reason=reason, actor=None, dry_run=dry_run)


def config():
    row = ConfigVersion.objects.first()
    return row.version if row else 0


def test_a_node_is_created_with_its_first_version(node):
    version = node.costs.get()
    assert (version.valid_from, version.valid_to, version.usd_per_hour) == (
        node.created_at,
        None,
        Decimal("0.05"),
    )
    assert hourly_nusd(node) == 50_000_000


def test_a_change_from_now_on_leaves_the_past_alone_and_reaches_the_gateway(node):
    before, version, rate = config(), busy().pk, node_rates(node.organisation_id)[node.name]
    done = change(node, usd_per_hour=Decimal("0.08"), people_usd_per_month=Decimal("7.30"))
    assert done.restatement is None and busy().pk == version
    assert config() > before
    assert (node.usd_per_hour, node.people_usd_per_month) == (
        Decimal("0.08"),
        Decimal("7.30"),
    )
    fresh = node_rates(node.organisation_id)[node.name]
    assert fresh.version != rate.version and fresh.version.startswith(done.version.version)
    told = AuditEvent.objects.get(action="node.cost_changed").detail["values"]
    assert Decimal(told["usd_per_hour"]) == Decimal("0.08")


def test_a_version_of_the_future_comes_into_force_when_its_time_is_there(node, time_machine):
    bring_into_force()
    change(node, NOON + 5 * HOUR, usd_per_hour=Decimal("0.08"))
    assert node.usd_per_hour == Decimal("0.05") and hourly_nusd(node) == 50_000_000
    assert bring_into_force() == 0
    before = config()
    time_machine.move_to(NOON + 6 * HOUR)
    assert bring_into_force() == 1 and bring_into_force() == 0
    node.refresh_from_db()
    assert node.usd_per_hour == Decimal("0.08") and config() > before


def test_a_commitment_that_runs_out_tells_the_gateway(node, time_machine):
    change(node, commitment_usd_per_hour=Decimal("0.02"), commitment_months=1)
    assert node_rates(node.organisation_id)[node.name].nusd_per_hour == 20_000_000
    bring_into_force()
    time_machine.move_to(NOON + timedelta(days=31))
    before = config()
    bring_into_force()
    assert config() > before
    assert node_rates(node.organisation_id)[node.name].nusd_per_hour == 50_000_000


def test_a_change_of_the_past_restates_and_keeps_both_versions(node):
    done = change(node, START, "the invoice says $0.08", usd_per_hour=Decimal("0.08"))
    moved = done.restatement
    assert (moved.hours, moved.before_nusd, moved.after_nusd) == (3, 150_000_000, 240_000_000)
    # Of 30,000,000 more for the hour of noon legal carries 25 %, customer-service 12.5 %.
    assert moved.moved == {"customer-service": 3_750_000, "idle": 78_750_000, "legal": 7_500_000}
    assert sum(moved.moved.values()) == moved.after_nusd - moved.before_nusd
    first, second = node.costs.order_by("pk")
    assert (moved.old_version, moved.new_version) == (first.version, second.version)
    kept = NodeInterval.objects.filter(start=START).order_by("revision")
    assert [(r.revision, r.current, r.bill_nusd, r.cost_version) for r in kept] == [
        (0, False, 50_000_000, first.version), (1, True, 80_000_000, second.version),
    ]  # fmt: skip
    assert kept[1].reason == "restated: the invoice says $0.08"
    assert node.usd_per_hour == Decimal("0.08")
    legal = SpendHour.objects.get(lob="legal")
    assert legal.cost_nusd + legal.variance_nusd == 20_000_000
    assert_everything_ties(node)


def test_a_preview_says_what_would_move_and_changes_nothing(node):
    before = (
        busy().pk,
        LedgerEntry.objects.count(),
        NodeCost.objects.count(),
        SpendHour.objects.get(lob="legal").variance_nusd,
    )
    seen = change(node, START, "what if", dry_run=True, usd_per_hour=Decimal("0.08")).restatement
    after = (
        busy().pk,
        LedgerEntry.objects.count(),
        NodeCost.objects.count(),
        SpendHour.objects.get(lob="legal").variance_nusd,
    )
    assert before == after and not Restatement.objects.exists() and node.usd_per_hour == Decimal("0.05")
    done = change(node, START, "what if", usd_per_hour=Decimal("0.08")).restatement
    assert (seen.hours, seen.before_nusd, seen.after_nusd, seen.moved) == (
        done.hours, done.before_nusd, done.after_nusd, done.moved,
    )  # fmt: skip


def test_changing_back_restores_every_amount(node):
    amounts = list(NodeInterval.objects.order_by("start").values_list("bill_nusd", "shares", "idle_nusd"))
    change(node, START, "wrong", usd_per_hour=Decimal("0.08"))
    change(node, START, "right after all", usd_per_hour=Decimal("0.05"))
    current = NodeInterval.objects.filter(current=True).order_by("start")
    assert list(current.values_list("bill_nusd", "shares", "idle_nusd")) == amounts
    assert node.costs.count() == 3 and busy().revision == 2
    assert_everything_ties(node)


def test_a_correction_ends_where_the_next_known_version_begins(node):
    change(node, START + HOUR, "moved", usd_per_hour=Decimal("0.07"))
    done = change(node, START, "noon alone was dearer", usd_per_hour=Decimal("0.09"))
    assert done.version.valid_to == START + HOUR and done.restatement.hours == 1
    assert node.usd_per_hour == Decimal("0.07")
    bills = NodeInterval.objects.filter(current=True).order_by("start").values_list("bill_nusd", flat=True)
    assert list(bills) == [50_000_000, 50_000_000, 90_000_000, 70_000_000, 70_000_000]


def test_late_work_after_a_restatement_is_billed_at_the_restated_rate(node):
    change(node, START, "dearer", usd_per_hour=Decimal("0.08"))
    work(node, 900)
    assert close(node) == 1 and busy().shares["legal"] == 20_000_000
    assert_everything_ties(node)


def test_restating_where_nothing_differs_moves_nothing_and_leaves_no_row(node):
    row = restate(node=node, start=START, end=NOON + 3 * HOUR, reason="to be sure", actor=None)
    assert row.hours == 0 and row.moved == {} and not Restatement.objects.exists()
    entries = LedgerEntry.objects.count()
    change(node, START, "same", usd_per_hour=Decimal("0.050"))
    assert LedgerEntry.objects.count() == entries and node.costs.count() == 1


def test_a_restatement_brings_late_work_in_and_says_who_it_moved(node):
    work(node, 900)
    row = restate(node=node, start=START, end=START + HOUR, reason="spool of a lost process", actor=None)
    assert (row.hours, row.before_nusd, row.after_nusd) == (1, 50_000_000, 50_000_000)
    assert row.moved == {"customer-service": 12_500_000, "idle": -12_500_000}
    assert Restatement.objects.get().reason == "spool of a lost process"
    assert_everything_ties(node)


@pytest.mark.parametrize(
    ("values", "start", "words"),
    [
        ({"usd_per_hour": "0.08"}, START, "say why"),
        ({"capex_usd": "5", "life_months": 2}, None, "rented or bought"),
        ({"usd_per_hour": "much"}, None, "must be a decimal"),
        ({"usd_per_hour": None}, None, "Say what the node costs"),
        ({"colour": "red"}, None, "no part of a node's cost"),
        ({"tariff": None}, None, "cannot be null"),
        ({"usd_per_hour": "1"}, datetime(1, 1, 1, tzinfo=UTC), "1970 to 2200"),
        ({"usd_per_hour": "1"}, datetime(9999, 1, 1, tzinfo=UTC), "1970 to 2200"),
    ],
)
def test_a_bad_change_is_refused_with_a_sentence_and_writes_nothing(node, values, start, words):
    with pytest.raises(ValidationFailed) as refused:
        change_cost(node=node, values=values, valid_from=start, actor=None)
    assert words in str([e["message"] for e in refused.value.errors])
    assert node.costs.count() == 1


def test_a_bad_node_is_not_created():
    with pytest.raises(ValidationFailed, match="salvage value 9"):
        create_node(
            organisation_id=make_organisation().pk,
            actor=None,
            name="n",
            capex_usd="8",
            life_months=12,
            salvage_usd="9",
        )
    assert not Node.objects.exists()


def test_a_node_from_before_there_were_versions_gets_its_first_when_it_is_closed(time_machine):
    time_machine.move_to(NOON)
    node = Node.objects.create(
        organisation=make_organisation(), name="old", usd_per_hour="0.10", created_at=NOON - 2 * HOUR
    )
    assert hourly_nusd(node) == 100_000_000
    close(node)
    version = node.costs.get()
    assert version.valid_from == node.created_at
    assert set(NodeInterval.objects.values_list("cost_version", flat=True)) == {version.version}


def test_a_change_from_decades_ago_looks_at_the_hours_there_are(node):
    done = change(node, datetime(1980, 1, 1, tzinfo=UTC), "always so", usd_per_hour=Decimal("0.10"))
    assert (done.restatement.hours, done.restatement.start) == (5, START - 2 * HOUR)
    with pytest.raises(ValidationFailed, match="1970 to 2200"):
        restate(node=node, start=datetime(1, 1, 1, tzinfo=UTC), end=NOON, reason="x", actor=None)


# --- the command line ----------------------------------------------------------------------------------------------------


def run(*args):
    out = StringIO()
    call_command(*args, stdout=out)
    return json.loads(out.getvalue())


def test_versions_are_listed_written_and_previewed_on_the_command_line(node):
    assert [row["usd_per_hour"] for row in run("node_cost", node.name)] == ["0.050000000"]
    args = (
        "node_cost",
        node.name,
        "--set",
        "usd_per_hour=0.08",
        "--from",
        START.isoformat(),
        "--reason",
        "invoice",
    )
    assert run(*args, "--dry-run")["restatement"]["after_usd"] == "0.24" and node.costs.count() == 1
    assert run(*args)["restatement"]["moved_usd"] == {
        "customer-service": "0.00375",
        "idle": "0.07875",
        "legal": "0.0075",
    }
    assert node.costs.count() == 2
    with pytest.raises(CommandError, match="Two bands"):
        bands = '[{"from": 1, "to": 3, "usd_per_kwh": 1}, {"from": 2, "to": 4, "usd_per_kwh": 1}]'
        run("node_cost", node.name, "--set", f"tariff={bands}")
    with pytest.raises(CommandError, match="FIELD=VALUE"):
        run("node_cost", node.name, "--set", "watts")


def test_a_node_is_restated_on_the_command_line(node):
    work(node, 900)
    args = ("restate_node", node.name, "--from", "2026-11-03", "--reason", "late spool")
    assert run(*args, "--dry-run")["hours"] == 1 and busy().revision == 0
    assert run(*args)["hours"] == 1 and busy().revision == 1
    with pytest.raises(CommandError, match="known are node-cpu-1"):
        run("restate_node", "nobody", "--from", "2026-11-03", "--reason", "x")
    with pytest.raises(CommandError, match="not a date"):
        run("restate_node", node.name, "--from", "yesterday", "--reason", "x")
