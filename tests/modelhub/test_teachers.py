"""What a compressed model's teacher would cost at home, found by the student's lineage."""

from __future__ import annotations

from datetime import timedelta

import pytest

from costs.models import SpendHour
from modelhub.selectors.teachers import teacher_costs
from switchyard.core.clock import now
from tests import factories as make

pytestmark = pytest.mark.django_db


def measured(organisation, deployment, ns, answers=10):
    SpendHour.objects.create(
        organisation_id=organisation.pk, start=now() - timedelta(hours=2), lob="customer-service", workload="w",
        deployment=deployment, model="m", side="private", answers=answers, accelerator_ns=ns,
    )  # fmt: skip


@pytest.fixture
def home():
    """A teacher and its student on one node of $3.60 an hour, planned in full: a nano-dollar a microsecond."""
    organisation = make.make_organisation()
    workload = make.make_workload(make.make_lob(organisation), "w")
    make.make_node(organisation, "node-1", usd_per_hour="3.60", planned_utilisation="1")
    teacher = make.make_deployment(organisation, "teacher", "private", model="txt-big")
    student = make.make_deployment(organisation, "student", "private", model="txt-small")
    make.make_version(teacher, workload, digest="d" * 64)
    version = make.make_version(student, workload, lineage={"train": {"teacher": "d" * 64}})
    return organisation, version


def test_a_student_is_held_against_the_measured_time_of_its_teacher(home):
    organisation, _ = home
    measured(organisation, "teacher", 10 * 5_000_000)  # 5 ms an answer at $0.001 a second: 5,000 nano-dollars
    assert teacher_costs(organisation.pk) == {("student", "w"): 5_000}


def test_a_teacher_named_by_its_model_is_found_too(home):
    organisation, version = home
    version.lineage = {"teacher": "txt-big"}
    version.save()
    measured(organisation, "teacher", 10 * 2_000_000)
    assert teacher_costs(organisation.pk) == {("student", "w"): 2_000}


def test_a_teacher_that_was_never_measured_or_is_gone_has_no_cost(home):
    organisation, version = home
    assert teacher_costs(organisation.pk) == {("student", "w"): None}
    version.lineage = {"teacher": "e" * 64}
    version.save()
    assert teacher_costs(organisation.pk) == {("student", "w"): None}


def test_a_fine_tuned_model_has_a_base_and_no_teacher(home):
    organisation, version = home
    version.lineage = {"base": "txt-big", "job": "job_1"}
    version.save()
    assert teacher_costs(organisation.pk) == {}
