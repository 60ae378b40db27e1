"""A job's page in a real browser: it follows its job without a reload, and stops when the job has ended."""

from __future__ import annotations

from typing import Any

import pytest

from switchyard.jobs.models import Job, JobEvent

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def seen(tab: Any, words: str) -> bool:
    """Polls from outside: the page's policy forbids the evaluation that a wait inside of it needs."""
    for _ in range(150):
        if words in tab.inner_text("#job"):
            return True
        tab.wait_for_timeout(100)
    return False


def test_a_jobs_page_follows_its_job(alice: Any, company: Any) -> None:
    job = Job.objects.create(
        id="job_followed", organisation=company.organisation, lob=company.lobs["legal"], kind="evaluation", state="running",
        message="beginning",
    )  # fmt: skip
    alice.goto(f"/jobs/{job.pk}/")
    assert seen(alice, "beginning")
    alice.evaluate("document.querySelector('h1').dataset.same = 'page'")
    JobEvent.objects.create(job=job, message="a third of the rows")
    Job.objects.filter(pk=job.pk).update(progress=0.33, message="a third")
    assert seen(alice, "a third of the rows")
    Job.objects.filter(pk=job.pk).update(state="succeeded", progress=1.0, message="done")
    assert seen(alice, "done") and alice.locator("#job[data-stream]").count() == 0
    assert alice.locator("h1").get_attribute("data-same") == "page", "it was never loaded anew"
    assert alice.complaints == []
