"""The evidence pack of an audit with what happened live: interceptions and monitors of the same workload."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from modelhub.models import BiasAudit
from modelhub.services import evidence
from routing.selectors import bias as live
from switchyard.core.clock import now
from switchyard.tenancy.querysets import Scope

LIVE_FOR = timedelta(days=30)


def evidence_of(audit: BiasAudit, scope: Scope) -> dict[str, Any]:
    """The signed pack, with thirty days of live figures of its workload as far as the reader's scope reaches."""
    lob, workload, end = audit.workload.lob.slug, audit.workload.name, now()
    told = live.interceptions_by_kind(scope, lob, end - LIVE_FOR, end, workload)
    monitors = json.loads(json.dumps(live.monitors(scope, lob, workload), default=str))
    return evidence.pack(audit, told, monitors)
