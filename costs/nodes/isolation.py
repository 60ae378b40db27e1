"""One machine's fault is its own: the others are still billed, and somebody is told which one was not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.models import Node
from switchyard.core.clock import now

log = logging.getLogger(__name__)


@contextmanager
def apart(node: Node, failed: list[Node] | None = None) -> Iterator[None]:
    """Whatever goes wrong inside is undone, logged and told of once a day; `failed` gets the node. The next run tries again."""
    try:
        with transaction.atomic():
            yield
    except Exception as error:
        log.exception("Node %s of organisation %s was not billed", node.name, node.organisation_id)
        if failed is not None:
            failed.append(node)
        raise_alert(
            organisation_id=node.organisation_id, kind="node_unbilled", subject=node.name,
            message=_(
                "Hours of %(name)s were not billed (%(error)s). The other machines were; check what it costs and its tariff. "
                "The next run tries again."
            ) % {"name": node.name, "error": type(error).__name__},
            unique_key=f"node_unbilled:{node.organisation_id}:{node.pk}:{now():%Y%m%d}",
        )  # fmt: skip
