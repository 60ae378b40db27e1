"""The guard's self-test as people meet it: run, and told of when a route lets a planted output through."""

from __future__ import annotations

from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from modelhub import artifacts
from modelhub.serving.runners.risk import RiskModel
from routing.guards.selftest import self_test
from switchyard.core.clock import now
from switchyard.tenancy.models import Organisation


def results() -> dict[str, str]:
    """Route → "" or what went wrong, with the guard as it is installed."""
    try:
        model = RiskModel(artifacts.find("risk-guard"))
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt):
        return self_test(None, 0.5)
    return self_test(model, model.threshold)


def examine() -> list[str]:
    """Routes that failed; every organisation that uses the guard hears of them, once a day."""
    failed = sorted(route for route, why in results().items() if why)
    if failed:
        for pk in (
            Organisation.objects.exclude(lobs__guard_mode="off").distinct().values_list("pk", flat=True)
        ):
            raise_alert(
                organisation_id=pk, kind="guard_self_test", subject=_("output guard"),
                message=_("The guard's self-test failed on %(routes)s.") % {"routes": ", ".join(failed)[:300]},
                cause=_("A planted output was not withheld there."), unique_key=f"guard_self_test:{pk}:{now():%Y-%m-%d}",
            )  # fmt: skip
    return failed
