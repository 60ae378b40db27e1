"""The machines page: parts, hours, versions; a change is seen before it is made; a neighbour sees its own work alone."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.test import Client

from costs import rollups
from costs.metering import record_events
from costs.models import Node, NodeCost, NodeInterval, Restatement
from costs.nodes.intervals import close_intervals
from costs.nodes.standard import node_rates
from costs.rollups import HOUR, hour_of
from switchyard.core.clock import now
from tests.costs.events import make_event, private_attempt
from tests.costs.nodes.company import make_node
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Company:
    """gpu-7 of pool `gpus` at $0.10 since six hours ago; legal used half of an hour of it."""
    company = make_company(days=1)
    start = hour_of(now()) - 6 * HOUR
    node = make_node(
        start, organisation=company.organisation, name="gpu-7", pool="gpus", usd_per_hour=Decimal("0.10"),
        people_usd_per_month=Decimal("14.61"),
    )  # fmt: skip
    attempt = private_attempt(accelerator_ns=1800 * 10**9, node="gpu-7", cost_nusd=40_000_000)
    event = make_event(
        attempt, at=start, organisation_id=node.organisation_id, lob="legal", workload="contract-clauses"
    )
    record_events([event | {"purpose": "shadow"}])
    rollups.refresh(start, start)
    close_intervals(node.organisation_id, start, now())
    return company


def panel(answer, name: str) -> list[list[object]]:
    return [list(row) for row in answer.context["panel"][name].rows]


def test_the_page_tells_the_parts_the_hours_and_what_the_machines_did(company: Company) -> None:
    client = client_of("alice", company, "admin")
    answer = client.get("/machines/?period=24h")
    [row] = [r for r in panel(answer, "node-costs") if r[0] == "gpu-7"]
    assert row[:5] == ["gpu-7", "gpus", 120_000_000, 100_000_000, 0] and row[7] == 20_000_000
    assert [
        "shadow",
        40_000_000,
        60_000_000,
        20_000_000,
        1800.0,
        1,
        40_000_000_000.0,
        60_000_000_000.0,
    ] in panel(answer, "machine-work")
    assert [r[1] for r in panel(answer, "pools") if r[0] == "gpus"] == [1]
    lines = client.get("/machines/?period=24h&csv=node-costs").content.decode().splitlines()
    assert lines[0].startswith("Machine,Pool,An hour (USD),Cloud (USD),Purchase (USD),Power (USD)")
    assert any(line.startswith("gpu-7,gpus,0.12,0.10,0.00") for line in lines)


BROKEN = [
    [{"from": 22, "to": 6, "usd_per_kwh": "1e-999999"}],
    [{"from": 22, "to": 6, "usd_per_kwh": "1e+999999"}],
    [{"from": 22, "to": 40, "usd_per_kwh": "0.10"}],
    [{"from": 1, "to": 3, "usd_per_kwh": "0.1"}, {"from": 2, "to": 4, "usd_per_kwh": "0.2"}],
    {"from": 22},
    ["cheap at night"],
]


@pytest.mark.parametrize("tariff", BROKEN)
def test_a_stored_tariff_that_cannot_be_read_is_told_of_on_its_machine_and_the_others_go_on(
    company: Company, tariff: object
) -> None:
    organisation = company.organisation
    node = make_node(
        hour_of(now()) - 6 * HOUR, organisation=organisation, name="gpu-broken", usd_per_hour=Decimal("0.10")
    )
    Node.objects.filter(pk=node.pk).update(tariff=tariff)
    NodeCost.objects.filter(node=node).update(tariff=tariff)
    client = client_of("alice", company, "admin")
    for address in (
        "/machines/",
        "/machines/gpu-broken/",
        "/machines/gpu-7/",
        "/capacity/",
        "/break-even/",
        "/",
        "/economics/",
    ):
        assert client.get(address).status_code == 200, address
    rows = {row[0]: row for row in panel(client.get("/machines/"), "node-costs")}
    assert "tariff can't be read" in str(rows["gpu-broken"][-1]) and rows["gpu-broken"][2] is None
    assert rows["gpu-7"][2] == 120_000_000
    assert "gpu-broken" not in node_rates(organisation.pk) and "gpu-7" in node_rates(organisation.pk)
    answer = client.post("/machines/gpu-broken/", form_of(node, usd_per_hour="0.20", valid_from="", reason="")
                         | {"form": "cost", "act": "apply"})  # fmt: skip
    assert answer.status_code == 200 and "tariff can&#x27;t be read" in answer.content.decode()
    assert client.get("/machines/?csv=node-costs").status_code == 200


def test_a_neighbour_sees_no_machine(company: Company) -> None:
    client = client_of("bob", company, "finance", "customer-service")
    answer = client.get("/machines/")
    assert answer.status_code == 200
    assert {p.name for p in answer.context["panels"]} == {"machine-work", "machine-lobs"}
    text = answer.content.decode()
    assert "gpu-7" not in text and "contract-clauses" not in text and "shadow" not in text
    assert client.get("/machines/?csv=node-costs").status_code == 404
    assert client.get("/machines/gpu-7/").status_code == 404
    assert client.post("/machines/gpu-7/", {"form": "cost", "act": "apply"}).status_code == 404


def form_of(node: Node, **changes: object) -> dict[str, object]:
    """What the browser sends back of the form as it was shown, with these changes."""
    from costs.nodes.forms import CostForm

    shown = {name: value for name, value in CostForm(instance=node).initial.items() if value is not None}
    return {"form": "cost"} | {f"cost-{k}": "[]" if v == [] else v for k, v in (shown | changes).items()}


def test_a_change_of_the_past_is_seen_before_it_is_made(company: Company) -> None:
    client, node = client_of("fay", company, "finance"), Node.objects.get(name="gpu-7")
    start = f"{node.created_at:%Y-%m-%d %H:%M:%S}"
    sent = form_of(node, usd_per_hour="0.20", valid_from=start, reason="the invoice")
    seen = client.post("/machines/gpu-7/", sent | {"act": "preview"})
    moved = dict(panel(seen, "preview"))
    assert moved["legal"] == 50_000_000 and moved["Total"] == sum(v for k, v in moved.items() if k != "Total")
    assert node.costs.count() == 1 and not Restatement.objects.exists()
    done = client.post("/machines/gpu-7/", sent | {"act": "apply"}, follow=True)
    assert done.redirect_chain and b"hours were billed again" in done.content
    row = Restatement.objects.get()
    assert (row.by, row.reason, row.moved["legal"]) == ("fay", "the invoice", 50_000_000)
    assert [row.old_version, row.new_version] == panel(done, "restatements")[0][4:6]
    assert "legal +0.05" in panel(done, "restatements")[0][8]
    assert [r[4] for r in panel(done, "cost-versions")] == ["0.2 USD an hour", "0.1 USD an hour"]


def test_a_change_that_cannot_be_is_said_at_its_field(company: Company) -> None:
    client, node = client_of("fay", company, "finance"), Node.objects.get(name="gpu-7")
    answer = client.post(
        "/machines/gpu-7/", form_of(node, capex_usd="5000", life_months="48") | {"act": "apply"}
    )
    assert "A node is rented or bought" in answer.content.decode() and node.costs.count() == 1
    past = f"{now() - timedelta(hours=3):%Y-%m-%d %H:%M:%S}"
    answer = client.post(
        "/machines/gpu-7/", form_of(node, usd_per_hour="3", valid_from=past) | {"act": "apply"}
    )
    assert "say why" in answer.content.decode() and node.costs.count() == 1
    assert client.post("/machines/gpu-7/", {"form": "nothing"}).status_code == 404


def test_closed_hours_are_billed_again_from_the_page(company: Company) -> None:
    client, node = client_of("oda", company, "operator"), Node.objects.get(name="gpu-7")
    node.costs.update(usd_per_hour="0.40")  # as if the version had been wrong from the start
    sent = {
        "form": "restate", "restate-start": f"{node.created_at:%Y-%m-%d %H:%M}", "restate-end": f"{now():%Y-%m-%d %H:%M}",
        "restate-reason": "typing error",
    }  # fmt: skip
    seen = client.post("/machines/gpu-7/", sent | {"act": "preview"})
    assert dict(panel(seen, "preview"))["legal"] == 150_000_000 and not Restatement.objects.exists()
    client.post("/machines/gpu-7/", sent | {"act": "apply"})
    assert Restatement.objects.get().by == "oda"
    assert not NodeInterval.objects.filter(node="gpu-7", current=True, bill_nusd=120_000_000).exists()


def test_who_only_reads_is_offered_no_change(company: Company) -> None:
    client = client_of("rita", company, "viewer")
    answer = client.get("/machines/gpu-7/")
    assert answer.status_code == 200 and b'value="apply"' not in answer.content
    sent = form_of(Node.objects.get(name="gpu-7"), usd_per_hour="9") | {"act": "apply"}
    assert client.post("/machines/gpu-7/", sent).status_code == 403


def test_administering_one_line_of_business_is_not_administering_machines(company: Company) -> None:
    from switchyard.tenancy.models import Membership

    client = client_of("paul", company, "finance", "legal")
    user = Membership.objects.get(user__username="paul").user
    Membership.objects.create(user=user, organisation=company.organisation, role="viewer")
    sent = form_of(Node.objects.get(name="gpu-7"), usd_per_hour="9") | {"act": "apply"}
    assert client.post("/machines/gpu-7/", sent).status_code == 403
    assert b'value="apply"' not in client.get("/machines/gpu-7/").content


def test_the_admin_writes_a_version_and_refuses_what_cannot_be(company: Company) -> None:
    from costs.nodes.forms import NodeForm
    from tests import factories as make

    client, node = Client(), Node.objects.get(name="gpu-7")
    client.force_login(
        make.make_user("root", company.organisation, "admin", is_staff=True, is_superuser=True)
    )
    shown = {k: "" if v is None else v for k, v in NodeForm(instance=node).initial.items()}
    shown |= {"tariff": "[]", "idle_shares": "{}", "valid_from_0": "", "valid_from_1": "", "valid_from": ""}
    address = f"/admin/costs/node/{node.pk}/change/"
    assert client.post(address, shown | {"usd_per_hour": "0.30", "idle_rule": "pool"}).status_code == 302
    node.refresh_from_db()
    assert (node.usd_per_hour, node.idle_rule, node.costs.count()) == (Decimal("0.30"), "pool", 2)
    answer = client.post(address, shown | {"usd_per_hour": "0.30", "salvage_usd": "7"})
    assert b"salvage value 7" in answer.content and node.costs.count() == 2
    new = shown | {
        "name": "gpu-8",
        "usd_per_hour": "1",
        "idle_rule": "lob_share",
        "idle_shares": '{"sales": 1}',
    }
    assert b"no line of business" in client.post("/admin/costs/node/add/", new).content
    assert client.post("/admin/costs/node/add/", new | {"idle_shares": '{"legal": 1}'}).status_code == 302
    assert Node.objects.get(name="gpu-8").costs.get().created_by == "root"
    assert client.post(f"/admin/costs/node/{node.pk}/delete/", {"post": "yes"}).status_code == 403
