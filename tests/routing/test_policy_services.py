from pathlib import Path

import pytest

from routing.models import Policy
from routing.selectors.policies import compiled, live
from routing.services import policies
from switchyard import demo
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import Conflict, InvalidRequest, ValidationFailed
from switchyard.tenancy.models import ConfigVersion, LineOfBusiness
from tests import factories as make

pytestmark = pytest.mark.django_db
HOME = "rules:\n  - name: all\n    when: true\n    route: {prefer: [private-sparse]}\n"
OUT = "rules:\n  - name: all\n    when: true\n    route: {prefer: [ext-mini], fallback: [private-sparse]}\n"


@pytest.fixture
def company():
    organisation = make.make_organisation()
    service = make.make_lob(organisation, "customer-service")
    legal = make.make_lob(organisation, "legal")
    make.make_workload(service, "support-intent")
    make.make_workload(legal, "contract-clauses", tier="core", sensitivity="confidential")
    make.make_deployment(organisation, "private-sparse", "private")
    make.make_deployment(organisation, "ext-mini")
    make.make_policy(organisation)
    return organisation


def lob(organisation, slug="customer-service"):
    return LineOfBusiness.objects.get(organisation=organisation, slug=slug)


def draft(organisation, document=OUT, slug="customer-service", user=None):
    scope = lob(organisation, slug) if slug else None
    return policies.create_draft(organisation=organisation, lob=scope, document=document, user=user)


def refused(organisation, document, slug="customer-service"):
    with pytest.raises(ValidationFailed) as error:
        draft(organisation, document, slug)
    return error.value.errors


def labels(organisation):
    return {slug: rollout.document.label for slug, rollout in compiled(organisation.pk).lobs.items()}


def test_versions_count_up_within_their_scope_and_live_is_one(company):
    first, second = draft(company), draft(company, HOME)
    assert (first.version, second.version) == (1, 2)
    assert draft(company, HOME, "legal").version == 1
    policies.publish(policy=first, user=None)
    policies.publish(policy=second, user=None)
    first.refresh_from_db()
    assert (first.state, second.state) == ("superseded", "live")
    assert labels(company) == {"customer-service": "customer-service@2"}


def test_a_policy_that_lets_confidential_requests_out_is_refused_with_the_request(company):
    document = OUT.replace("when: true", "when: workload.tier == 'core'")
    [error] = refused(company, document, "legal")
    example = error["counter_example"]
    assert (error["path"], error["line"], error["column"]) == ("rules[0].route.prefer[0]", 4, 22)
    assert example["facts"]["workload.name"] == "contract-clauses"
    assert (example["deployment"], example["hop"]) == ("ext-mini", "first")
    assert not Policy.objects.filter(lob__slug="legal").exists()


def test_an_unknown_deployment_is_refused_with_a_suggestion(company):
    [error] = refused(company, HOME.replace("private-sparse", "private-sparce"))
    assert "Did you mean 'private-sparse'?" in error["message"]
    assert (error["line"], error["column"]) == (4, 22)


def test_publishing_tells_every_process_and_the_audit_log(company):
    before = ConfigVersion.objects.get(pk=1).version
    alice = make.make_user("alice", company, "admin")
    policies.publish(policy=draft(company), user=alice)
    assert ConfigVersion.objects.get(pk=1).version > before
    event = AuditEvent.objects.filter(action="policy.published").order_by("-sequence").first()
    assert (event.actor, event.lob, event.detail["version"]) == ("alice", "customer-service", 1)


def test_with_four_eyes_the_author_needs_somebody_else(company):
    company.four_eyes = True
    company.save()
    alice, bob = make.make_user("alice", company, "admin"), make.make_user("bob", company, "admin")
    policy = draft(company, user=alice)
    with pytest.raises(Conflict) as error:
        policies.publish(policy=policy, user=alice)
    assert error.value.code == "approval_required"
    assert policies.publish(policy=policy, user=bob).approved_by == bob


def test_rolling_back_goes_one_version_back_each_time(company):
    for document in (HOME, OUT, HOME + "\n"):
        policies.publish(policy=draft(company, document), user=None)
    scope = lob(company)
    assert policies.rollback(organisation=company, lob=scope, user=None).version == 2
    assert policies.rollback(organisation=company, lob=scope, user=None).version == 1
    assert labels(company) == {"customer-service": "customer-service@1"}
    with pytest.raises(Conflict):
        policies.rollback(organisation=company, lob=scope, user=None)


def test_a_rollback_works_even_when_the_company_has_changed_since(company):
    policies.publish(policy=draft(company, OUT), user=None)
    policies.publish(policy=draft(company, HOME), user=None)
    make.make_workload(lob(company), "complaints", sensitivity="confidential")
    back = policies.rollback(organisation=company, lob=lob(company), user=None)
    assert (back.version, back.state) == (1, "live")
    assert "complaints" in back.report["warnings"][0]


def test_a_draft_that_no_longer_holds_is_not_published(company):
    policy = draft(company, OUT)
    make.make_workload(lob(company), "complaints", sensitivity="confidential")
    with pytest.raises(ValidationFailed):
        policies.publish(policy=policy, user=None)
    assert live(company.pk, lob(company).pk) is None


def test_a_new_organisation_policy_may_not_contradict_a_live_one_of_a_lob(company):
    policies.publish(policy=draft(company, OUT), user=None)
    stricter = make.ORGANISATION_POLICY.replace(">= confidential", ">= internal")
    policy = draft(company, stricter, slug=None)
    with pytest.raises(ValidationFailed) as error:
        policies.publish(policy=policy, user=None)
    assert "customer-service@1" in error.value.errors[0]["message"]
    assert live(company.pk, None).version == 1


def test_a_share_of_the_traffic_takes_the_new_version_and_the_rest_the_one_before(company):
    policies.publish(policy=draft(company, HOME), user=None)
    policies.publish(policy=draft(company, OUT), user=None, percent=25)
    rollout = compiled(company.pk).lobs["customer-service"]
    drawn = [rollout.pick(f"key-{i}").label for i in range(1000)]
    assert 0.2 < drawn.count("customer-service@2") / 1000 < 0.3
    with pytest.raises(InvalidRequest):
        policies.publish(policy=draft(company, OUT), user=None, percent=0)


def test_validating_reports_what_was_proven(company):
    policy = policies.validate(policy=draft(company, OUT), user=None)
    assert policy.state == "validated"
    assert policy.report["cases"] > 0
    assert policy.report["warnings"] == []


def test_a_stored_version_that_cannot_be_read_refuses_its_own_requests_only(company):
    policies.publish(policy=draft(company, OUT), user=None)
    Policy.objects.filter(lob__slug="customer-service").update(document="rules: [{name: r, when: old.fact}]")
    rollout = compiled(company.pk).lobs["customer-service"]
    assert [rule.route.kind for rule in rollout.document.rules] == ["deny"]
    assert compiled(company.pk).organisation.document.label == "org@1"


def test_diff_shows_the_changed_lines(company):
    lines = policies.diff(draft(company, HOME), draft(company, OUT))
    assert any(line.startswith("-    route: {prefer: [private-sparse]}") for line in lines)


def test_without_an_organisation_policy_nothing_may_leave():
    organisation = make.make_organisation()
    make.make_lob(organisation)
    assert [i.name for i in compiled(organisation.pk).invariants] == ["no organisation policy is live"]


def test_the_policies_of_the_demonstration_company_hold():
    from switchyard.demo.company import DEPLOYMENTS, LOBS

    organisation = make.make_organisation()
    for plan in LOBS:
        own = make.make_lob(organisation, plan.slug)
        for work in plan.workloads:
            make.make_workload(own, work.name, task=work.task, tier=work.tier, sensitivity=work.sensitivity)
    for deployment in DEPLOYMENTS:
        make.make_deployment(organisation, deployment.name, deployment.side, tasks=list(deployment.tasks))
    files = {path.stem: path.read_text() for path in (Path(demo.__file__).parent / "policies").glob("*.y*ml")}
    company_wide = files.pop("organisation")
    published = make.make_policy(organisation, company_wide)
    assert published.report["warnings"] == []
    for slug, document in files.items():
        assert make.make_policy(organisation, document, lob(organisation, slug)).report["warnings"] == []
