"""Ask for a what-if, and read what came of it. The job that answers is routing.whatif.job."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction

from routing.models import Policy, WhatIf
from routing.selectors import policies as read
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from switchyard.core.ids import new_id
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User

MOST_DAYS = 90


@transaction.atomic
def what_if(
    *, policy: Policy, days: int = 7, against: Policy | None = None, user: User | None = None
) -> tuple[WhatIf, Job]:
    """Queue a replay of the last `days` days of decisions under `policy`, compared with `against`.

    Without `against` it is compared with the version now live in its scope; with another version this is the difference
    of the two by effect. The answer comes into `WhatIf.report` (empty while the job runs), newest first in
    `policy.what_ifs`. Asking twice for the same while the first runs gives the first. Raises InvalidRequest for days
    outside 1..90 and for versions of different scopes.

    The report (money: decimal strings in dollars; shares and accuracies 0..1; intervals 90 %):

        policy, against   {"id", "label", "version", "hash", "state"}; against is null when nothing was live
        from, to, days    ISO times of the window
        requests          decisions that were replayed
        left_out          {reason: requests that were not, e.g. "rate_limit_exceeded"}
        distinct          combinations of facts that were decided
        changed           requests that would be answered by another deployment than under `against`
        totals            METRICS of everything
        lobs              [{"lob", METRICS…}]
        workloads         [{"lob", "workload", METRICS…}]
        by_day            [{"day", "before_usd", "after_usd", "requests"}]
        movers            [{"lob", "workload", "rule", "from", "to", "from_side", "to_side", "requests", "change_usd",
                            "accuracy_change", "sample_ids": [decision ids]}], the largest change of cost first
        crossings         {"requests": 0, "ids": [], "invariants": [names]}: what the new version would send where an
                          invariant of either version, or of those in force, forbids it
        leaves            {"confidential": {"before", "after"}, "restricted": {…}}: requests with such data that the
                          version's first choice sends outside
        not_enough        [{"lob", "workload", "deployment", "what": "accuracy" | "tokens" | "confidence", "n", "needed",
                            "requests"}]: estimates that rest on too little; show them
        notes             [sentences]: what the replay can't know
        seconds, rows_per_s

    METRICS:

        requests, changed
        cost          {"before_usd", "after_usd", "change_usd", "low_usd", "high_usd", "change_pct", "low_pct",
                       "high_pct"} at the prices of that time
        cost_today    the same at today's prices
        accuracy      {"before", "after", "change", "low", "high", "n", "verdict": "enough" | "not_enough_data"};
                      figures are null under not_enough_data. `n`: judged answers the new version's figure rests on
        latency_ms    {"before", "after", "change", "low", "high"}, means of the calls
        sides         {"before": {"private", "external", "refused"}, "after": {…}}, requests
    """
    if not 1 <= days <= MOST_DAYS:
        raise InvalidRequest(f"days is {days}; expected 1 to {MOST_DAYS}.", param="days")
    if against is not None and (against.organisation_id, against.lob_id) != (
        policy.organisation_id,
        policy.lob_id,
    ):
        raise InvalidRequest(
            f"{read.label_of(against)} and {read.label_of(policy)} are versions of different documents; name two of one.",
            param="against",
        )
    against = against or _live_beside(policy)
    key = f"what_if:{policy.pk}:{against.pk if against else ''}:{days}"
    row = WhatIf(
        id=new_id("wif"), policy=policy, against=against, days=days, since=now() - timedelta(days=days),
        until=now(), created_by=user,
    )  # fmt: skip
    job = submit_once(
        kind="what_if", organisation=policy.organisation, lob=policy.lob, params={"what_if": row.pk}, user=user,
        unique_key=key,
    )  # fmt: skip
    if job.params["what_if"] != row.pk:
        running = WhatIf.objects.filter(pk=job.params["what_if"]).first()
        if running is not None:
            return running, job
    row.job_id = job.pk
    row.save(force_insert=True)
    record(
        actor=user, action="policy.what_if", target=f"policy:{policy.pk}", lob=policy.lob.slug if policy.lob else "",
        organisation_id=policy.organisation_id,
        detail={"version": policy.version, "against": against.version if against else None, "days": days},
    )  # fmt: skip
    return row, job


def _live_beside(policy: Policy) -> Policy | None:
    """The version now live in its scope; a live one is compared with the one before it."""
    live = read.live(policy.organisation_id, policy.lob_id)
    return live if live is None or live.pk != policy.pk else read.previous_of(policy)


def latest(policy: Policy) -> WhatIf | None:
    """The newest report of a version that is finished; None without one."""
    rows = WhatIf.objects.filter(policy=policy).exclude(report={}).select_related("against__lob")
    return rows.first()


def pending(policy: Policy) -> WhatIf | None:
    """The newest that was asked for and has no report yet, whether its job runs, waits or has failed."""
    row = WhatIf.objects.filter(policy=policy).first()
    return row if row is not None and not row.report else None
