"""Pages of policies on a screen 390 pixels wide: nothing is cut off, nothing makes the whole page slide sideways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelhub.models import Deployment
from routing.models import WhatIf
from routing.services import policies as services
from routing.services.evidence import ask_for_approval
from routing.services.shadows import start_shadow
from tests import factories as make
from tests.switchyard.dashboards.test_policy_pages import HOME, draft
from tests.switchyard.dashboards.what_if_report import report

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
# What sticks out of the window: scrolling parts of a page may be as wide as they like inside.
WIDER = """() => [...document.querySelectorAll('main *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && !e.closest('.scroll, pre, .visually-hidden, .editor, .chart');
}).map(e => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`).slice(0, 8)"""
OUT = "rules:\n  - {name: a rule with a long name, when: data.sensitivity < confidential, route: {prefer: [ext-mini]}}\n"
BROKEN = 'rules:\n  - {name: r, when: "data.sensitivty > internal", route: {prefer: [ext-mni]}}\n'


@pytest.fixture
def pages(company: Any) -> dict[str, str]:
    """Name → address, on versions in every state."""
    author = make.make_user("ann", company.organisation, "policy_author")
    old = company.policies["customer-service"]
    rolled = services.publish(policy=draft(company, OUT), user=None, percent=10)
    waits = draft(company, HOME + "# waits\n", user=author)
    approval = ask_for_approval(policy=waits, user=author, note="Look at the fallback of every rule, please.")
    WhatIf.objects.create(id="wif_1", policy=waits, against=old, days=7, report=report(waits, old))
    shadow = start_shadow(policy=draft(company, HOME + "# shadow\n"), user=None)
    Deployment.objects.filter(organisation=company.organisation, name="ext-mini").delete()
    return {
        "list": "/policies/", "editor": f"/policies/new/?scope=customer-service&from={old.pk}", "try": "/policies/try/",
        "try-facts": "/policies/try/?kind=facts", "try-request": "/policies/try/?kind=request", "live": f"/policies/{rolled.pk}/",
        "organisation": f"/policies/{company.policies['organisation'].pk}/", "shadow": f"/policies/{shadow.pk}/",
        "difference": f"/policies/{waits.pk}/difference/?against={old.pk}",
        "what-if": f"/policies/{waits.pk}/what-if/?report=wif_1", "proof": "/policies/proof/",
        "proven": "/policies/proof/?class=restricted&from=2026-01-01&to=2027-01-01", "history": "/policies/history/",
        "history-lob": "/policies/history/?scope=customer-service", "approvals": "/policies/approvals/",
        "approval": f"/policies/approvals/{approval.pk}/",
    }  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_no_page_of_policies_is_wider_than_a_telephone(
    alice: Any, pages: dict[str, str], tmp_path: Path, language: str
) -> None:
    alice.set_viewport_size({"width": 390, "height": 844})
    if language != "en":
        with alice.expect_navigation():
            alice.select_option("#language", language)
    found = {}
    for name, address in pages.items():
        alice.goto(address)
        alice.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        if name == "editor":
            alice.fill("#document", BROKEN)
            alice.wait_for_selector("#verdict .faults")
        if name == "try-facts":
            alice.fill("#facts", '{"workload": {"name": "support-intent"}}')
            alice.click("main form button.primary")
            alice.wait_for_selector(".trace")
            alice.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        alice.wait_for_timeout(200)
        alice.screenshot(path=str(tmp_path / f"{name}.png"), full_page=True)
        whole = alice.evaluate("document.documentElement.scrollWidth")
        outside = alice.evaluate(WIDER)
        if whole > 390 or outside:
            found[name] = (whole, outside)
    assert found == {}
