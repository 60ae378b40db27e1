"""From `make run` to Ctrl-C on the whole product: real processes, real models, the real client."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from decimal import Decimal
from pathlib import Path

import openai
import pytest

from switchyard.supervisor import ports
from tests.journeys.product import Product, post_form

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
TEXT = "The staff were friendly and the food was great."
INSIDE = """rules:
  - name: customers' questions stay home
    when: workload.tier == "edge"
    route: {prefer: [private-sparse], fallback: []}
"""
LEAK = """rules:
  - name: contracts go out
    when: workload.tier == "core"
    route: {prefer: [ext-mini], fallback: []}
"""


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    """One instance for the whole module; the last tests stop it."""
    found = Product(tmp_path_factory.mktemp("run") / "home").start()
    yield found
    found.stop()


def ask(product: Product, model: str = "support-sentiment", lob: str = "customer-service", **headers: str):
    raw = product.sdk(lob).chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": TEXT}], extra_headers=headers
    )
    return raw.parse().choices[0].message.content, raw.headers


def eventually(check, seconds: float, what: str):
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def test_demo_json_says_all_a_client_needs_and_only_to_its_owner(product):
    path = product.home / "demo.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    demo = json.loads(path.read_text())
    assert set(demo) == {"url", "admin", "keys", "upstreams", "upstream_keys"}
    assert set(demo["admin"]) == {"username", "password", "token"}
    assert set(demo["keys"]) == {
        "customer-service", "legal", "healthcare", "manufacturing", "supply-chain", "engineering",
    }  # fmt: skip
    assert all(key.startswith("sy_") for key in demo["keys"].values())
    assert all(url.endswith("/v1") for url in demo["upstreams"].values())
    assert not demo["url"].endswith("/")
    for word in ("Dashboard", "Login", demo["keys"]["legal"]):
        assert word in product.console


def test_the_official_client_gets_a_right_answer_with_its_cost_and_its_reasons(product):
    answer, headers = ask(product)
    assert answer == "positive"
    assert headers["x-switchyard-route"] == "external"
    assert Decimal(headers["x-switchyard-cost-usd"]) > 0
    key = product.demo["keys"]["customer-service"]
    path = f"/v1/decisions/{headers['x-switchyard-decision-id']}"
    status, decision, _ = product.call("GET", path, key=key)
    assert status == 200
    assert decision["facts"]["workload"]["name"] == "support-sentiment"
    assert any(rule["matched"] for rule in decision["trace"])
    status, _, _ = product.call(
        "POST", "/v1/feedback", {"decision_id": decision["id"] if "id" in decision else path.rpartition("/")[2],
        "label": "positive"}, key=key,
    )  # fmt: skip
    assert status in (200, 201, 202)


def test_a_stream_ends_with_its_cost_when_usage_was_asked_for(product):
    chunks = list(
        product.sdk("engineering").chat.completions.create(
            model="code-assist", messages=[{"role": "user", "content": "def add(a, b):"}], max_tokens=8, stream=True,
            stream_options={"include_usage": True},
        )
    )  # fmt: skip
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    assert Decimal(str(chunks[-1].usage.model_dump()["switchyard"]["cost_usd"])) > 0


def share(product: Product) -> dict[str, int]:
    """Requests of customer-service by side, as the reports (and the overview) count them."""
    _, report, _ = product.call("GET", "/api/v1/reports/spend?group=side&lob=customer-service")
    return {row["key"]: row["requests"] for row in report["rows"]}


def live_policy(product: Product, lob: str) -> str:
    _, found, _ = product.call("GET", "/api/v1/policies")
    return next(p["id"] for p in found["results"] if p["state"] == "live" and p["lob"] == lob)


def test_a_policy_published_in_the_admin_moves_the_same_call_home_within_two_seconds_and_rollback_restores_it(
    product,
):
    _, before = ask(product)
    assert before["x-switchyard-route"] == "external"
    shares = eventually(lambda: share(product), 12, "the first report")

    admin = product.administrator()
    form = f"/admin/routing/policy/{live_policy(product, 'customer-service')}/change/"
    assert "document" in admin.get(form).text
    answer = post_form(admin, form, {"document": INSIDE, "note": "home", "_publish": "1"})
    published = time.monotonic()
    assert answer.status_code == 200, answer.text[:2000]

    def moved():
        answer, headers = ask(product)
        return headers if headers["x-switchyard-route"] == "private" and answer == "positive" else None

    after = eventually(moved, 2.0, "the move home")
    assert time.monotonic() - published <= 2.5
    assert after["x-switchyard-policy-version"] != before["x-switchyard-policy-version"]
    assert after["x-switchyard-cost-usd"] != before["x-switchyard-cost-usd"]
    assert after["x-switchyard-model"] == "private-sparse"
    eventually(
        lambda: share(product).get("private", 0) > shares.get("private", 0), 12, "the share in the reports"
    )

    assert "private" in admin.get("/?lob=customer-service").text

    form = f"/admin/routing/policy/{live_policy(product, 'customer-service')}/change/"
    answer = post_form(admin, form, {"document": INSIDE, "note": "home", "_rollback": "1"})
    assert answer.status_code == 200, answer.text[:2000]
    restored = eventually(
        lambda: (h := ask(product)[1])["x-switchyard-route"] == "external" and h, 2.0, "the rollback"
    )
    assert restored["x-switchyard-policy-version"] == before["x-switchyard-policy-version"]


def test_a_policy_that_would_let_confidential_data_out_is_refused_with_the_request_that_proves_it(product):
    status, problem, _ = product.call("POST", "/api/v1/policies", {"lob": "legal", "document": LEAK})
    assert status == 400
    said = json.dumps(problem)
    assert "errors" in problem and "ext-mini" in said and "confidential" in said


def test_an_exhausted_budget_is_429_and_not_worth_a_retry(product):
    scope = {"scope": "application:price-desk", "limit_usd": "0.000000001", "period": "day", "action": "stop"}
    status, budget, _ = product.call("POST", "/api/v1/budgets", scope)
    assert status == 201, budget
    record = {"model": "price-advice", "records": [_price_record(product)]}
    key = product.demo["keys"]["supply-chain"]
    refused = eventually(
        lambda: (r := product.call("POST", "/v1/predictions", record, key=key))[0] == 429 and r,
        3,
        "the refusal",
    )
    assert refused[1]["error"]["code"] == "project_spend_limit_exceeded"
    assert refused[1]["error"]["type"] == "insufficient_quota"
    assert refused[2]["x-should-retry"] == "false"
    status, _, _ = product.call("DELETE", f"/api/v1/budgets/{budget['id']}")
    assert status == 204
    eventually(lambda: product.call("POST", "/v1/predictions", record, key=key)[0] == 200, 3, "the answer")


def _price_record(product: Product) -> dict:
    examples = json.loads((product.home / "demo-examples.json").read_text())["examples"]
    return next(e["body"]["records"][0] for e in examples if e["workload"] == "price-advice")


def test_a_confidential_request_never_leaves_even_while_the_private_side_is_down(product):
    servers = product.pids("serve_models --side private")
    assert servers
    for pid in servers:
        os.kill(pid, signal.SIGSTOP)  # down, and not restarted
    try:
        with pytest.raises(openai.APIStatusError) as raised:
            product.sdk("customer-service").with_options(timeout=60).chat.completions.create(
                model="support-sentiment", messages=[{"role": "user", "content": TEXT}],
                extra_headers={"X-Switchyard-Sensitivity": "confidential"},
            )  # fmt: skip
        assert raised.value.status_code in (503, 504)
        _, headers = ask(product)
        assert headers["x-switchyard-route"] == "external"  # what may leave still works
        billed = _billed(product)
        assert headers["x-request-id"] in billed
        assert raised.value.response.headers["x-request-id"] not in billed
    finally:
        for pid in servers:
            os.kill(pid, signal.SIGCONT)
    _, headers = ask(product, **{"X-Switchyard-Sensitivity": "confidential"})
    assert headers["x-switchyard-route"] == "private"


def test_a_dead_private_server_is_503_for_confidential_work_and_comes_back_by_itself(product):
    for pid in product.pids("serve_models --side private"):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(openai.APIStatusError) as raised:
        product.sdk("legal").chat.completions.create(
            model="terms-review",
            messages=[{"role": "user", "content": "We may change these terms at any time."}],
        )
    assert raised.value.status_code == 503
    assert raised.value.code == "residency_capacity_unavailable"
    assert raised.value.response.headers["retry-after"]

    def answers() -> bool:
        try:
            return ask(product, "terms-review", "legal")[1]["x-switchyard-route"] == "private"
        except openai.APIStatusError:
            return False

    eventually(answers, 60, "the private server's return")
    assert "private-models ended (signal 9)" in product.console


def test_pages_come_back_after_a_kill_while_calls_go_on_and_the_session_holds(product):
    """Answered by a process of their own at a socket that only its owner may use; no model library is loaded there."""
    admin = product.administrator()
    [pages] = product.pids("serve_pages")
    place = product.home / "run" / "pages.sock"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    for name in ("serve_pages", "switchyard.asgi:application"):
        [pid] = product.pids(name)
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
    assert product.call("GET", "/readyz")[1]["pages"] == "up"

    os.kill(pages, signal.SIGKILL)
    away = eventually(lambda: (r := admin.get("/spend/")).status_code == 503 and r, 5, "the notice")
    assert away.headers["retry-after"]
    status, ready, _ = product.call("GET", "/readyz")
    assert status == 200 and ready["pages"] == "away"
    assert ask(product)[0] == "positive"
    eventually(lambda: admin.get("/spend/").status_code == 200, 60, "the pages' return")
    assert product.pids("serve_pages") not in ([], [pages])
    assert "pages ended (signal 9)" in product.console


def _billed(product: Product) -> set[str]:
    """The requests on the stand-in's own bill."""
    import urllib.request

    url = product.demo["upstreams"]["external"].removesuffix("/v1") + "/bill"
    bearer = {"authorization": f"Bearer {product.demo['upstream_keys']['external']}"}
    with urllib.request.urlopen(urllib.request.Request(url, headers=bearer), timeout=20) as response:
        return {row["request_id"] for row in json.loads(response.read())["rows"]}


def test_ctrl_c_stops_everything_within_ten_seconds_and_a_second_start_doubles_nothing(product):
    def company() -> dict[str, int]:
        found = {}
        for name in (
            "lobs",
            "workloads",
            "deployments",
            "policies",
            "applications",
            "budgets",
            "nodes",
            "prices",
        ):
            _, rows, _ = product.call("GET", f"/api/v1/{name}")
            found[name] = len(rows["results"])
        return found

    before, keys, admin = company(), product.demo["keys"], product.demo["admin"]
    assert product.stop() < 10
    assert product.process is not None and product.process.returncode == 0
    assert product.pids() == []
    assert ports.is_free(product.port)
    assert not (product.home / "demo.json").exists()

    product.start()
    assert product.demo["keys"] == keys and product.demo["admin"] == admin
    assert company() == before
    assert ask(product)[0] == "positive"


def test_a_killed_supervisor_leaves_no_orphan_and_the_next_start_works(product):
    assert product.process is not None
    product.process.kill()
    product.process.wait()
    eventually(lambda: product.pids() == [], 10, "the end of every process")
    assert not (product.home / "demo.json").exists()
    assert ports.is_free(product.port)
    product.start()
    assert ask(product)[0] == "positive"
    assert product.stop(signal.SIGTERM) < 10
    assert product.pids() == []
