"""Reasons of decisions in the reader's language: whatever the engine says has its Chinese, and conditions stay as written."""

import logging
import re

from django.utils import translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.policy.engine import CompiledPolicies, Rollout
from switchyard.dashboards.reasons import reason_in_words
from tests.routing.policy.generated import costs, deployments, documents, requests, scores

SLOW = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)
ENGLISH = re.compile(r"[a-z]{3,} [a-z]{3,}")


@SLOW
@given(
    documents(organisation=True),
    deployments(),
    st.lists(requests(broken=True), min_size=1, max_size=3),
    costs,
    scores,
)
def test_every_reason_of_the_engine_has_its_chinese(document, candidates, asked, worst_case, chances):
    logging.disable(logging.CRITICAL)
    try:
        policies = [CompiledPolicies(Rollout(document)), CompiledPolicies(None)]
        for facts in asked:
            for policy in policies:
                told = policy.decide(
                    facts, candidates, lob="a", worst_case=worst_case, sticky="k", scores=chances
                )
                lines = [r for view in told.candidates for r in view.reasons] + [told.refusal or "denied"]
                lines += [
                    line.reason for line in told.trace if line.reason.startswith(("no rule", "skipped"))
                ]
                for line in lines:
                    with translation.override("zh-hans"):
                        said = reason_in_words(line)
                    assert said != line and not ENGLISH.search(re.sub(r"'.*?'|never \d", "", said)), (
                        line,
                        said,
                    )
                    with translation.override("en"):
                        assert (
                            line in ("denied", "residency", "no_deployment") or reason_in_words(line) == line
                        )
    finally:
        logging.disable(logging.NOTSET)


def test_a_condition_is_nobodys_sentence():
    with translation.override("zh-hans"):
        for condition in (
            'workload.tier == "edge"',
            "data.sensitivity >= confidential && !request.stream",
            "true",
        ):
            assert reason_in_words(condition) == condition
        assert reason_in_words("(12 earlier rules)") == "（之前的 12 条规则）"
        assert reason_in_words("invariant: 50% of % stay") == "不变式：50% of % stay"
