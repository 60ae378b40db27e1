"""Everything a what-if reads of the database: records, judgements, prices of the time, versions and deployments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from django.db.models import Count, Q, TextField
from django.db.models.functions import Cast

from costs.models import Price
from costs.selectors import price_sheets
from modelhub.models import Evaluation
from routing.contracts import DeploymentInfo
from routing.models import DecisionRecord, Feedback, Policy
from routing.policy.engine import Rollout
from routing.policy.rules import Document
from routing.selectors import policies as read
from routing.selectors.world import snapshot_of
from routing.whatif.basis import Target, Used
from routing.whatif.columns import Row
from routing.whatif.plans import Arm, shares_of
from routing.whatif.prices import Prices
from routing.whatif.replay import Question
from switchyard.core.clock import now
from switchyard.tenancy.models import Organisation

AT_ONCE = 2_000
MOST_SEGMENTS = 50  # changes of price in one window; older ones count at the first that is kept


def records(
    organisation_id: int, lob: str | None, since: datetime, until: datetime, *, version: str = ""
) -> Iterator[Row]:
    """Decisions of a period as routing.whatif.columns.Reader takes them, a few thousand in memory at a time; with `version`
    (`legal@2`) only those that it took part in."""
    rows = DecisionRecord.objects.filter(organisation_id=organisation_id, at__gte=since, at__lt=until)
    rows = rows.filter(lob=lob) if lob is not None else rows
    if version:
        alone, first, last = Q(policy_version=version), f"{version}+", f"+{version}"
        rows = rows.filter(alone | Q(policy_version__startswith=first) | Q(policy_version__endswith=last))
    named = rows.order_by().annotate(told=Cast("detail", TextField()))
    return named.values_list(
        "pk", "at", "lob", "workload", "deployment", "status", "error_code", "cost_nusd", "latency_ms", "answers", "told"
    ).iterator(chunk_size=AT_ONCE)  # fmt: skip


def judgements(
    organisation_id: int, lob: str | None, since: datetime, until: datetime
) -> dict[str, tuple[int, int]]:
    """Decision id → (judged, correct) answers."""
    rows = Feedback.objects.filter(
        organisation_id=organisation_id, at__gte=since, at__lt=until, correct__isnull=False
    )
    rows = rows.filter(lob=lob) if lob is not None else rows
    counted = rows.order_by().values_list("decision_id").annotate(
        judged=Count("pk"), right=Count("pk", filter=Q(correct=True))
    )  # fmt: skip
    return {pk: (judged, right) for pk, judged, right in counted.iterator(chunk_size=AT_ONCE)}


def question(
    *, organisation: Organisation, before: Policy | None, after: Policy, since: datetime, until: datetime
) -> Question:
    """What is asked when `after` is held against `before` (nothing in that scope when None), beside all that is live."""
    world = snapshot_of(organisation)
    deployments = [replace(d, resting={}, canaries={}) for d in world.deployments.values()]
    segments = price_changes(organisation.pk, since, until)
    moments = [since, *segments]
    live = read.live(organisation.pk, None)
    return Question(
        before=arm(organisation, after, read.document_of(before) if before is not None else None),
        after=arm(organisation, after, read.document_of(after)),
        deployments=deployments, targets=targets(organisation.pk, deployments),
        prices=Prices(
            [price_sheets(organisation.pk, moment) for moment in moments], price_sheets(organisation.pk, now()),
            {d.name: d.rate for d in deployments if d.rate is not None},
        ),
        guarded=read.document_of(live).invariants if live is not None else (), segments=segments,
    )  # fmt: skip


def arm(organisation: Organisation, scope: Policy, document: Document | None) -> Arm:
    """Everything live, with `document` in the place of the scope's own."""
    rows = Policy.objects.filter(organisation=organisation, state="live").select_related("lob")
    live = {policy.lob_id: shares_of(_rollout(policy)) for policy in rows}
    live[scope.lob_id] = [(1.0, document)]
    slugs = {policy.lob_id: policy.lob.slug for policy in [*rows, scope] if policy.lob is not None}
    return Arm(
        base=live.get(None, [(1.0, None)]),
        own={slugs[pk]: part for pk, part in live.items() if pk is not None},
    )


def _rollout(policy: Policy) -> Rollout:
    before = read.previous_of(policy) if policy.percent < 100 else None
    return Rollout(read.document_of(policy), policy.percent, read.document_of(before) if before else None)


def price_changes(organisation_id: int, since: datetime, until: datetime) -> list[datetime]:
    """Moments inside the window at which some sheet began or ended."""
    rows = Price.objects.filter(organisation_id=organisation_id)
    began = rows.filter(valid_from__gt=since, valid_from__lt=until).values_list("valid_from", flat=True)
    ended = rows.filter(valid_to__gt=since, valid_to__lt=until).values_list("valid_to", flat=True)
    return sorted({*began, *ended})[-MOST_SEGMENTS:]


def targets(organisation_id: int, deployments: Sequence[DeploymentInfo]) -> list[Target]:
    """Deployments with what evaluation says of them: how often right, and what its rows took, of the newest run each."""
    evaluated: dict[str, dict[str, tuple[int, int]]] = {}
    for deployment in deployments:
        for workload, (share, rows) in deployment.quality.items():
            evaluated.setdefault(deployment.name, {})[workload] = (round(share * rows), rows)
    used = _used(organisation_id)
    return [
        Target(d.name, d.side, dict(d.usual_accelerator_ns), evaluated.get(d.name, {}), used.get(d.name, {}))
        for d in deployments
    ]


def _used(organisation_id: int) -> dict[str, dict[str, Used]]:
    """Deployment → workload → what the rows of its newest evaluation took."""
    rows = Evaluation.objects.filter(workload__organisation_id=organisation_id, detail__has_key="usage")
    found: dict[str, dict[str, Used]] = {}
    for deployment, workload, usage in rows.order_by("at").values_list(
        "deployment__name", "workload__name", "detail__usage"
    ):
        told = Used(**{name: int(usage.get(name, 0)) for name in ("rows", "size", "tokens_in", "tokens_out")})
        if told.rows and told.tokens_in:
            found.setdefault(deployment, {})[workload] = told
    return found
