"""Policies in a real browser: the editor by keyboard, a text that is never lost, pages without complaints in both lights."""

from __future__ import annotations

from typing import Any

import pytest

from routing.models import Policy, WhatIf
from routing.services.evidence import ask_for_approval
from routing.services.policies import create_draft
from switchyard.tenancy.models import User
from tests.browser.test_pages import drawn
from tests.switchyard.dashboards.company import LOB_POLICY
from tests.switchyard.dashboards.what_if_report import report

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]
EDITOR = "/policies/new/?scope=customer-service"
WRONG = LOB_POLICY.replace("workload.tier", "workload.teir")


def draft(company: Any, document: str = LOB_POLICY + "# again\n") -> Policy:
    author = User.objects.filter(username="alice").first()
    return create_draft(
        organisation=company.organisation,
        lob=company.lobs["customer-service"],
        document=document,
        user=author,
        note="n",
    )


def write(page: Any, text: str) -> None:
    page.fill("#document", text)
    page.wait_for_selector("#verdict .verdict.bad" if text == WRONG else "#verdict .verdict.good")


def test_a_fault_stands_beside_the_text_and_is_mended_and_saved_by_the_keyboard(
    alice: Any, company: Any
) -> None:
    alice.goto(EDITOR)
    write(alice, WRONG)
    assert alice.inner_text(".gutter .fault") == "3"
    assert alice.inner_text(".colours .t-fault") == "workload.teir"
    assert "Did you mean workload.tier?" in alice.inner_text("#verdict")
    alice.press("#document", "F8")
    assert alice.evaluate("document.getSelection().toString()") == "workload.teir"
    alice.press("#document", "Control+.")
    alice.wait_for_selector("#verdict .verdict.good")
    assert alice.input_value("#document") == LOB_POLICY and alice.locator(".gutter .fault").count() == 0
    alice.press("#document", "Control+z")
    assert alice.input_value("#document") == WRONG, "undo knows what a suggestion wrote"
    alice.press("#document", "Control+Shift+z")
    alice.press("#document", "Tab")
    assert alice.evaluate("document.activeElement.id") == "note", "the keyboard leaves the text"
    alice.fill("#document", LOB_POLICY + "# mine\n")
    alice.press("#document", "Control+s")
    alice.wait_for_selector("h1:has-text('version 2')")
    assert Policy.objects.get(version=2, lob__slug="customer-service").document == LOB_POLICY + "# mine\n"
    assert alice.complaints == []


def test_a_click_takes_a_suggestion_and_facts_and_pieces_are_inserted(alice: Any) -> None:
    alice.goto(EDITOR)
    write(alice, WRONG)
    alice.click("#verdict .fix")
    alice.wait_for_selector("#verdict .verdict.good")
    assert alice.input_value("#document") == LOB_POLICY
    alice.fill("#fact-filter", "iban")
    assert alice.locator(".fact-list [data-fact]:visible").count() == 0
    alice.fill("#fact-filter", "kinds of personal")
    assert alice.locator(".fact-list [data-fact]:visible").count() == 1
    alice.fill("#document", "rules:\n")
    alice.click("summary:has-text('Pieces to begin with')")
    alice.click("[data-block] >> nth=0")
    assert "sensitive data stays home" in alice.input_value("#document")
    alice.wait_for_selector("#verdict .verdict.good")


def test_a_request_is_tried_under_the_unsaved_text(alice: Any) -> None:
    alice.goto(EDITOR)
    alice.fill(
        "#document",
        LOB_POLICY.replace("prefer: [ext-mini], fallback: [private-sparse]", "prefer: [private-sparse]"),
    )
    alice.click("summary:has-text('Try a request under this text')")
    alice.select_option("#try-workload", "support-intent")
    alice.click(".ask-box .ask >> nth=0")
    alice.wait_for_selector("text=different from what is live")
    assert "private-sparse" in alice.inner_text("section[aria-label='Tried']")
    assert "ext-mini" in alice.inner_text("section[aria-label='Live now']")


def test_the_text_outlives_the_session_and_is_saved_after_logging_in_again(alice: Any) -> None:
    alice.goto(EDITOR)
    cookies = [c for c in alice.context.cookies() if c["name"] != "sessionid"]
    alice.context.clear_cookies()
    alice.context.add_cookies(cookies)
    alice.fill("#document", LOB_POLICY + "# kept\n")
    alice.wait_for_selector("#editor-state:has-text('Your session has ended')")
    other = alice.context.new_page()
    other.goto("/")
    other.fill("#id_username", "alice")
    other.fill("#id_password", "correct horse battery")
    other.click("main form button.primary")
    other.wait_for_selector("h1:has-text('Overview')")
    other.close()
    assert alice.input_value("#document") == LOB_POLICY + "# kept\n"
    alice.click("#policy-form button.primary")
    alice.wait_for_selector("h1:has-text('version 2')")
    assert Policy.objects.get(version=2, lob__slug="customer-service").document.endswith("# kept\n")


def test_the_text_outlives_a_reload_and_can_be_discarded(alice: Any) -> None:
    alice.goto(EDITOR)
    alice.on("dialog", lambda dialog: dialog.accept())
    write(alice, LOB_POLICY + "# half\n")
    alice.reload()
    alice.wait_for_selector("text=This is the text as you left it")
    assert alice.input_value("#document").endswith("# half\n")
    with alice.expect_navigation():
        alice.click("button:has-text('Discard it')")
    assert alice.input_value("#document") == LOB_POLICY


def test_somebody_elses_version_is_told_and_mine_follows_it(alice: Any, company: Any) -> None:
    alice.goto(EDITOR)
    alice.wait_for_load_state(
        "networkidle"
    )  # SQLite in memory refuses to write a table that a page is reading
    theirs = draft(company)
    write(alice, LOB_POLICY + "# mine\n")
    alice.click("#policy-form button.primary")
    alice.wait_for_selector(f"text=Version {theirs.version} was saved by")
    assert alice.input_value("#document") == LOB_POLICY + "# mine\n"
    alice.click("#policy-form button.primary")
    alice.wait_for_selector("h1:has-text('version 3')")


def test_slider_steps_and_number_say_the_same(alice: Any, company: Any) -> None:
    alice.goto(f"/policies/{draft(company).pk}/")
    alice.click("[data-percent='25']")
    assert (alice.input_value("#percent"), alice.input_value("input[type=range]")) == ("25", "25")
    alice.focus("input[type=range]")
    alice.keyboard.press("ArrowRight")
    assert alice.input_value("#percent") == "26"
    alice.click("button:has-text('Publish')")
    alice.wait_for_selector("text=takes 26 % of the traffic")


def pages(company: Any) -> list[str]:
    new = draft(company)
    WhatIf.objects.create(
        id="wif_1", policy=new, against=company.policies["customer-service"], days=7, report=report(new)
    )
    row = ask_for_approval(policy=new, user=None)
    base = f"/policies/{new.pk}/"
    return [
        "/policies/", EDITOR, "/policies/try/", "/policies/try/?kind=request", base, f"{base}difference/", f"{base}what-if/",
        "/policies/approvals/", f"/policies/approvals/{row.pk}/", "/policies/history/?scope=customer-service",
        "/policies/proof/?class=restricted",
    ]  # fmt: skip


def test_axe_finds_nothing_in_the_light_and_in_the_dark_and_no_page_complains(
    alice: Any, company: Any
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found, addresses = {}, pages(company)
    for scheme, options in (("light", None), ("dark", {"runOnly": ["color-contrast"]})):
        alice.emulate_media(color_scheme=scheme)
        for address in addresses:
            alice.goto(address)
            drawn(alice)
            if address == EDITOR:
                write(alice, WRONG)
            alice.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
            violations = Axe().run(alice, options=options).response["violations"]
            if violations:
                found[(scheme, address)] = [
                    (v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in violations
                ]
            if address == EDITOR:
                alice.evaluate("sessionStorage.clear()")
                alice.fill("#document", LOB_POLICY)
    assert found == {}
    assert alice.complaints == []


def test_they_speak_chinese(alice: Any) -> None:
    alice.goto("/policies/")
    with alice.expect_navigation():
        alice.select_option("#language", "zh-hans")
    alice.goto(EDITOR)
    assert "验证器" in alice.inner_text("#h-verdict") and "已证明" in alice.inner_text("#verdict")
    alice.goto("/policies/proof/?class=restricted")
    assert alice.inner_text("h1") == "驻留证明" and "期间" in alice.inner_text(".sentence")
