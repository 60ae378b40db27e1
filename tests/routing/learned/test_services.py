"""Learning from judged answers and offering thresholds: per workload, per line of business, audited, only when better."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from modelhub.ml.answer_sheets import Sheet
from modelhub.models import Evaluation
from routing.learning.models import RoutingFit
from routing.models import DecisionRecord, Feedback
from routing.policy.facts import empty_facts
from routing.selectors.learned import asking_lobs, calibrations_of, learned_of
from routing.selectors.policies import compiled
from routing.selectors.world import snapshot_of
from routing.services.learned import judged_rows, learn, learn_where_due, retire
from routing.services.learned_cascade import cascade_threshold
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, InvalidRequest, NotFound
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def workload() -> Any:
    organisation = make.make_organisation()
    workload = make.make_workload(make.make_lob(organisation, "customer-service"), "support-intent")
    small, big = (
        make.make_deployment(organisation, "ext-mini"),
        make.make_deployment(organisation, "private-a", "private"),
    )
    make.make_version(small, workload)
    make.make_version(big, workload)
    return workload


def answered(
    workload: Any, n: int, *, seed: int = 0, hard: bool = True, sketch: bytes = b"", lob: str = ""
) -> None:
    """n judged answers: difficult requests go wrong more often, and confidence is twice too sure of itself."""
    rng = np.random.default_rng(seed)
    decisions, feedback = [], []
    mine = {"organisation_id": workload.organisation_id, "lob": lob or workload.lob.slug, "workload": workload.name,
            "deployment": "ext-mini", "model": "txt-edge/support-intent", "side": "external"}  # fmt: skip
    for i in range(n):
        facts = empty_facts()
        difficulty = float(rng.random())
        facts["request"]["difficulty"] = difficulty
        chance = (1 - 0.9 * difficulty) if hard else 0.7
        right = bool(rng.random() < chance)
        detail: dict[str, Any] = {"facts": facts, "confidence": 0.5 + 0.5 * chance}
        if sketch:
            detail["learned"] = {"chances": {}, "sketch": base64.b64encode(sketch).decode()}
        pk = f"dec_{seed}_{lob}_{i}"
        decisions.append(DecisionRecord(
            id=pk, request_id=f"req_{seed}_{lob}_{i}", at=now(), endpoint="classifications", sensitivity="internal",
            policy_version="org@1", policy_hash="x", answers=1, detail=detail, **mine,
        ))  # fmt: skip
        feedback.append(Feedback(decision_id=pk, at=now(), correct=right, **mine))
    DecisionRecord.objects.bulk_create(decisions)
    Feedback.objects.bulk_create(feedback)


def evaluated(
    workload: Any, deployment: str, right: np.ndarray, sure: np.ndarray, rows: str = "same", **changes: Any
) -> None:
    from modelhub.models import Deployment

    row = Deployment.objects.get(organisation_id=workload.organisation_id, name=deployment)
    values = {"metric": "accuracy", "value": float(right.mean()), "n": len(right), "correct": int(right.sum()), "version": "1",
              "p50_ms": 0.2 if "mini" in deployment else 8.0}  # fmt: skip
    detail = {
        "answers": Sheet(right, sure, rows).pack(),
        "usage": {"rows": 10, "tokens_in": 50, "tokens_out": 5},
    }
    Evaluation.objects.create(workload=workload, deployment=row, **(values | {"detail": detail} | changes))


def pair(n: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(small right, its confidence, big right)."""
    rng = np.random.default_rng(3)
    sure = rng.beta(5, 1, n)
    small = rng.random(n) < sure
    return small, sure, small | (rng.random(n) < 0.6)


# --- learning -----------------------------------------------------------------------------------------------------------


def test_judged_answers_teach_a_scorer_and_a_map_that_are_used_and_audited(workload):
    answered(workload, 900)
    taught = learn(workload=workload)
    assert {(f.kind, f.state) for f in taught.fits} == {("scorer", "live"), ("calibration", "live")}
    scorer = RoutingFit.objects.get(kind="scorer")
    assert scorer.report["low"] > 0 and scorer.report["against"] == "each deployment's plain rate"
    found = calibrations_of(workload.organisation_id)["ext-mini"]["support-intent"]
    assert found.model == "txt-edge/support-intent"
    assert found.chance(0.6) < 0.4 < 0.6 < found.chance(0.98)
    assert AuditEvent.objects.filter(action="routing.learned", lob="customer-service").count() == 2
    maps = snapshot_of(workload.organisation).deployments["ext-mini"].calibrations
    assert maps["support-intent"].chance(0.6) == found.chance(0.6)


def test_what_is_no_better_is_kept_as_a_version_and_not_used(workload):
    answered(workload, 600, hard=False)
    fits = learn(workload=workload).fits
    assert [f.state for f in fits if f.kind == "scorer"] == ["kept"]
    assert AuditEvent.objects.filter(action="routing.not_better").exists()
    again = learn(workload=workload).fits
    assert [f.version for f in again if f.kind == "scorer"] == [2]


def test_a_second_fit_is_judged_against_the_one_in_use(workload):
    answered(workload, 900)
    learn(workload=workload)
    second = next(f for f in learn(workload=workload).fits if f.kind == "scorer")
    assert second.state == "kept" and second.report["against"] == "the scorer in use"
    assert RoutingFit.objects.get(kind="scorer", state="live").version == 1


def test_too_few_answers_are_told_with_their_number_and_nothing_is_written(workload):
    answered(workload, 60)
    workload.versions.update(
        upstream_model="txt-edge/support-intent@ft-1"
    )  # whose validation rows nobody keeps
    Feedback.objects.update(model="txt-edge/support-intent@ft-1")
    taught = learn(workload=workload)
    assert not taught.fits and "60 of 200" in taught.reasons["scorer"]
    assert "100" in taught.reasons["calibration:ext-mini"]


def test_a_map_counts_validation_rows_beside_judged_answers(workload):
    answered(workload, 60)
    (fit,) = learn(workload=workload).fits
    assert fit.kind == "calibration" and fit.report["feedback"] == 60
    assert fit.report["validation"] > 1_400 and fit.n == 60 + fit.report["validation"]


def test_a_neighbours_answers_teach_nothing_here(workload):
    neighbour = make.make_lob(workload.organisation, "legal")
    answered(workload, 900, lob=neighbour.slug)
    assert judged_rows(workload) == []
    assert learn(workload=workload).reasons["scorer"] == "no judged answers yet"


def test_sketches_are_read_only_where_the_line_of_business_keeps_texts(workload):
    answered(workload, 400, sketch=bytes(range(100)))
    assert learn(workload=workload).fits[0].report["sketch"] is False
    workload.lob.keep_text = True
    workload.lob.save()
    assert learn(workload=workload).fits[0].report["sketch"] is True


def test_the_task_learns_where_enough_is_new_and_not_again(workload):
    answered(workload, 900)
    assert learn_where_due() == 2
    assert learn_where_due() == 0
    assert RoutingFit.objects.count() == 2


def test_a_fit_is_taken_out_of_use_once(workload):
    answered(workload, 900)
    learn(workload=workload)
    fit = RoutingFit.objects.get(kind="scorer")
    assert retire(fit=fit, user=None).state == "retired"
    with pytest.raises(Conflict, match="isn't in use"):
        retire(fit=fit, user=None)


def test_a_map_of_a_model_that_no_longer_answers_is_not_fitted(workload):
    answered(workload, 300)
    workload.evaluations.all().delete()
    Feedback.objects.update(model="txt-edge/support-intent@ft-old")
    assert (
        "no judged answer of the model that answers now"
        in learn(workload=workload).reasons["calibration:ext-mini"]
    )


def test_chances_are_loaded_only_where_a_policy_in_force_asks(workload):
    organisation, lob = workload.organisation, workload.lob
    make.make_policy(organisation)
    assert learned_of(organisation.pk, compiled(organisation.pk), ["customer-service"]) is None
    rule = 'rules:\n  - name: by chance\n    when: "true"\n    route: {choose: cheapest, among: [ext-mini], learned: true}\n'
    make.make_policy(organisation, rule, lob)
    assert asking_lobs(compiled(organisation.pk), ["customer-service", "legal"]) == {"customer-service"}
    answered(workload, 900)
    learn(workload=workload)
    world = snapshot_of(organisation)
    assert world.learned is not None and set(world.learned.workloads) == {"support-intent"}


# --- thresholds ---------------------------------------------------------------------------------------------------------


def test_a_threshold_is_offered_with_its_curve_and_what_it_gets_on_unseen_rows(workload):
    small, sure, big = pair()
    evaluated(workload, "ext-mini", small, sure)
    evaluated(workload, "private-a", big, np.ones(len(big)))
    offer = cascade_threshold(
        workload=workload, small="ext-mini", big="private-a", goal="accuracy", target=0.95
    )
    assert offer.point is not None and offer.point.accuracy_share >= 0.95
    assert offer.honest.above_random.low > 0
    assert offer.route.startswith('{cascade: [ext-mini, private-a], until: "confidence >= 0.')
    told = offer.as_json()
    assert len(told["curve"]) > 50 and told["cost_nusd"] is not None and told["n"] == 600


def test_the_route_on_offer_is_one_that_a_policy_accepts(workload):
    from routing.policy.document import parse_document

    small, sure, big = pair()
    evaluated(workload, "ext-mini", small, sure)
    evaluated(workload, "private-a", big, np.ones(len(big)))
    offer = cascade_threshold(workload=workload, small="ext-mini", big="private-a", target=0.9)
    document = parse_document(f'rules: [{{name: r, when: "true", route: {offer.route}}}]', organisation=False)
    assert offer.point is not None
    assert document.rules[0].route.until_confidence == pytest.approx(
        min(1.0, offer.point.threshold), abs=1e-4
    )


def test_a_confidence_that_says_nothing_is_not_offered(workload):
    small, sure, big = pair()
    evaluated(workload, "ext-mini", small, np.random.default_rng(5).permutation(sure))
    evaluated(workload, "private-a", big, np.ones(len(big)))
    offer = cascade_threshold(workload=workload, small="ext-mini", big="private-a", target=0.8)
    assert offer.point is not None and offer.honest.above_random.low <= 0
    assert offer.route == "" and offer.verdict != "pass"


def test_too_few_rows_give_no_verdict(workload):
    small, sure, big = pair(100)
    evaluated(workload, "ext-mini", small, sure)
    evaluated(workload, "private-a", big, np.ones(len(big)))
    assert (
        cascade_threshold(workload=workload, small="ext-mini", big="private-a").verdict == "not_enough_data"
    )


def test_a_live_map_of_confidence_moves_the_curve_to_what_the_gateway_compares(workload):
    small, sure, big = pair()
    evaluated(workload, "ext-mini", small, sure)
    evaluated(workload, "private-a", big, np.ones(len(big)))
    plain = cascade_threshold(workload=workload, small="ext-mini", big="private-a", target=0.95)
    RoutingFit.objects.create(
        organisation_id=workload.organisation_id, lob="customer-service", workload="support-intent", kind="calibration",
        deployment="ext-mini", model="txt-edge/support-intent", version=1, state="live", n=100,
        values={"kind": "platt", "knots": [[0, 0], [1, 0.5]]},
    )  # fmt: skip
    mapped = cascade_threshold(workload=workload, small="ext-mini", big="private-a", target=0.95)
    assert plain.point is not None and mapped.point is not None
    assert mapped.point.threshold == pytest.approx(plain.point.threshold / 2, abs=0.01)
    assert mapped.point.accuracy == pytest.approx(plain.point.accuracy, abs=0.005)


def test_what_can_not_be_offered_says_why(workload):
    small, sure, big = pair()
    evaluated(workload, "ext-mini", small, sure)
    asks = [
        ({"big": "private-a", "goal": "speed"}, InvalidRequest, "accuracy or cost"),
        ({"big": "private-a", "target": 0.0}, InvalidRequest, "above 0"),
        ({"big": "ext-mini"}, InvalidRequest, "two deployments"),
        ({"big": "nobody"}, NotFound, "nobody"),
    ]
    for changes, kind, words in asks:
        with pytest.raises(kind, match=words):
            cascade_threshold(workload=workload, small="ext-mini", **changes)
    Evaluation.objects.filter(deployment__name="private-a").delete()
    evaluated(workload, "private-a", big, np.ones(len(big)), rows="others")
    with pytest.raises(InvalidRequest, match="other rows"):
        cascade_threshold(workload=workload, small="ext-mini", big="private-a")


def test_the_shipped_models_need_no_evaluation_and_others_do(workload):
    offer = cascade_threshold(workload=workload, small="ext-mini", big="private-a")
    assert offer.n == 1_487 and offer.verdict == "pass"
    other = make.make_deployment(workload.organisation, "other", model="somebody-elses")
    make.make_version(other, workload, upstream_model="somebody-elses/support-intent")
    with pytest.raises(InvalidRequest, match="Evaluate it first"):
        cascade_threshold(workload=workload, small="other", big="private-a")


def test_an_evaluation_of_an_older_version_is_not_used(workload):
    small, sure, big = pair()
    evaluated(workload, "ext-mini", small, sure, version="0", at=now() + timedelta(hours=1))
    assert cascade_threshold(workload=workload, small="ext-mini", big="private-a").n == 1_487
