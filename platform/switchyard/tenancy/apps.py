from typing import Any

from django.apps import AppConfig
from django.db.models.signals import pre_delete


class TenancyConfig(AppConfig):
    name = "switchyard.tenancy"
    label = "tenancy"

    def ready(self) -> None:
        pre_delete.connect(
            drop_memberships, sender="tenancy.LineOfBusiness", dispatch_uid="memberships-of-a-lob"
        )
        from switchyard.tenancy.api import schema  # noqa: F401  (registers itself with the generator)


def drop_memberships(sender: Any, instance: Any, **kwargs: Any) -> None:
    """A membership without lines of business means all of them, so one that held in this one alone goes with it."""
    for membership in instance.memberships.prefetch_related("lobs"):
        if [lob.pk for lob in membership.lobs.all()] == [instance.pk]:
            membership.delete()
