"""What a person meets in a real browser: charts without complaints, the keyboard, contrast, Chinese, publishing a policy."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

PAGES = [
    "/", "/spend/", "/budgets/", "/ledger/", "/accuracy/", "/review/", "/decisions/", "/decisions/dec_legal_0001/", "/policies/",
    "/policies/new/?scope=customer-service", "/policies/try/", "/models/", "/jobs/", "/jobs/job_legal/", "/alerts/", "/audit/",
    "/claims/", "/upstreams/", "/upstreams/catalogue/", "/upstreams/catalogue/openai/", "/batches/",
]  # fmt: skip


ALL_DRAWN = (
    "() => [...document.querySelectorAll('[data-figure]')].every(place => place.dataset.drawn === 'yes')"
)


def drawn(tab: Any) -> None:
    """Polls from outside: the page's policy forbids the evaluation that a wait inside of it needs."""
    for _ in range(150):
        if tab.evaluate(ALL_DRAWN):
            return
        tab.wait_for_timeout(100)
    raise AssertionError("the charts were not drawn within 15 s")


def test_a_wrong_password_is_refused_in_words(tab: Any) -> None:
    tab.goto("/")
    tab.fill("#id_username", "alice")
    tab.fill("#id_password", "wrong")
    tab.click("main form button.primary")
    assert "correct" in tab.inner_text("[role=alert]")


def test_the_overviews_charts_are_drawn_without_a_complaint_or_a_policy_violation(alice: Any) -> None:
    drawn(alice)
    assert alice.locator("[data-figure] .main-svg").count() >= 7
    assert "As it was" in alice.inner_text("#counterfactual")
    assert alice.complaints == []


def test_every_chart_has_a_table_twin_and_a_csv(alice: Any) -> None:
    drawn(alice)
    for panel in alice.locator("section.panel:has([data-figure])").all():
        assert panel.locator("details table tbody tr").count() > 0
        assert "csv=" in panel.locator("header a[download]").get_attribute("href")


def test_no_page_complains_and_axe_finds_nothing_in_the_light_or_in_the_dark(alice: Any) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = {}
    for scheme, options in (
        ("light", None),
        ("dark", {"runOnly": ["color-contrast"]}),
    ):  # the rest has no colour
        alice.emulate_media(color_scheme=scheme)
        for address in PAGES:
            alice.goto(address)
            drawn(alice)
            alice.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
            violations = Axe().run(alice, options=options).response["violations"]
            if violations:
                found[(scheme, address)] = [
                    (v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in violations
                ]
    assert found == {}
    assert alice.complaints == []


def test_everything_on_the_overview_is_reached_by_the_keyboard_in_order(alice: Any) -> None:
    alice.keyboard.press("Tab")
    assert alice.evaluate("document.activeElement.textContent") == "Skip to the content"
    alice.keyboard.press("Enter")
    assert alice.evaluate("document.activeElement.id || document.location.hash") in ("content", "#content")
    reached = set()
    alice.goto("/")
    for _ in range(80):
        alice.keyboard.press("Tab")
        reached.add(
            alice.evaluate(
                "document.activeElement.textContent.trim().slice(0, 30) || document.activeElement.id"
            )
        )
    for words in ("Decisions", "Log out", "Policies"):
        assert words in reached
    assert any("CSV" in words for words in reached) and any("As a table" in words for words in reached)


def test_the_theme_button_turns_the_page_dark_and_the_choice_stays(alice: Any) -> None:
    alice.emulate_media(color_scheme="light")
    light = alice.evaluate("getComputedStyle(document.body).backgroundColor")
    alice.click("[data-theme-switch]")
    dark = alice.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    alice.goto("/spend/")
    assert alice.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_the_period_is_in_the_address_and_changes_with_the_picker(alice: Any) -> None:
    alice.select_option("#period", "7d")
    alice.wait_for_url("**period=7d**")
    drawn(alice)
    alice.select_option("#lob", "legal")
    alice.wait_for_url("**lob=legal**")
    assert "period=7d" in alice.url


def test_the_pages_speak_chinese(alice: Any) -> None:
    with alice.expect_navigation():
        alice.select_option("#language", "zh-hans")
    assert alice.inner_text("h1") == "概览"
    assert alice.get_attribute("html", "lang") == "zh-hans"
    assert "决策" in alice.inner_text("nav.side")


def test_a_policy_is_refused_with_its_proof_then_written_published_and_rolled_back(
    alice: Any, company: Any
) -> None:
    from routing.models import Policy

    lob = company.lobs["customer-service"]
    alice.goto("/policies/new/?scope=customer-service")
    alice.fill(
        "#document",
        "rules:\n  - name: x\n    when: data.sensitivty == public\n    route: {prefer: [ext-mini]}\n",
    )
    alice.click("main form button.primary")
    alice.wait_for_selector("[role=alert]")
    assert "line 3, column" in alice.inner_text("[role=alert]") and "data.sensitivity" in alice.inner_text(
        "[role=alert]"
    )
    alice.fill(
        "#document", "rules:\n  - name: stays home\n    when: 'true'\n    route: {prefer: [private-sparse]}\n"
    )
    alice.click("main form button.primary")
    alice.wait_for_selector("h1:has-text('version 2')")
    alice.click("button:has-text('Publish')")
    alice.wait_for_selector(".messages .success:has-text('is live')")
    assert Policy.objects.get(lob=lob, state="live").version == 2
    alice.once("dialog", lambda dialog: dialog.accept())
    alice.click("button:has-text('Roll back')")
    alice.wait_for_selector(".messages .success:has-text('Rolled back')")
    assert Policy.objects.get(lob=lob, state="live").version == 1


def test_trying_a_request_shows_where_it_would_go_and_why(alice: Any) -> None:
    alice.goto("/policies/try/")
    alice.select_option("#workload", "contract-clauses")
    alice.fill("#text", "The supplier shall indemnify the customer.")
    alice.click("main form button.primary")
    alice.wait_for_selector("text=Decision")
    assert "invariant: restricted data stays home" in alice.inner_text(
        "main"
    ) or "Refused" in alice.inner_text("main")


def test_a_policy_is_changed_and_published_in_the_admin_without_a_complaint(alice: Any, company: Any) -> None:
    from routing.models import Policy

    old = company.policies["customer-service"]
    alice.goto(f"/admin/routing/policy/{old.pk}/change/")
    home = old.document.replace("prefer: [ext-mini], fallback: [private-sparse]", "prefer: [private-sparse]")
    alice.fill("#id_document", home)
    alice.click("input[name=_publish]")
    alice.wait_for_selector(".messagelist:has-text('is live')")
    live = Policy.objects.get(lob=company.lobs["customer-service"], state="live")
    assert (live.version, live.document) == (2, home)
    alice.click("input[name=_rollback]")
    alice.wait_for_selector(".messagelist:has-text('Rolled back')")
    assert Policy.objects.get(lob=company.lobs["customer-service"], state="live").pk == old.pk
    assert alice.complaints == []
