"""What the proof of a version rests on, as one hash: when it changes, what was approved is no longer what was shown."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple

from django.db.models import Q

from routing.models import Policy
from routing.selectors import policies as read


def basis_of(policy: Policy) -> str:
    """Of the document, the invariants in force, the company's workloads, deployments and lines of business.

    The version now live in its scope counts, since the approver saw the difference from it; for the organisation's document
    so do the live ones of the lines of business: publishing asks whether they hold under it.
    """
    rows = Policy.objects.filter(organisation_id=policy.organisation_id, state="live").exclude(pk=policy.pk)
    if policy.lob_id is not None:
        rows = rows.filter(Q(lob=policy.lob_id) | Q(lob__isnull=True))
    known = {
        "document": policy.hash,
        "in_force": sorted(map(str, rows.values_list("lob__slug", "hash"))),
        "workloads": sorted(astuple(w) for w in read.workload_facts(policy.organisation_id)),
        "targets": sorted(astuple(t) for t in read.target_facts(policy.organisation_id).values()),
        "lobs": sorted(read.lob_slugs(policy.organisation_id)),
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=list).encode()).hexdigest()
