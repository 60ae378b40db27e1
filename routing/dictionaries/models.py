"""Tables of customers' own terms. routing.models imports them."""

from __future__ import annotations

import orjson
from django.db import models
from django.utils.translation import gettext_lazy as _

from switchyard.core.clock import now
from switchyard.core.crypto import open_secret, seal_secret
from switchyard.tenancy.querysets import TenantQuerySet

CLASSES = ["confidential", "restricted"]


class SensitiveDictionary(models.Model):
    """Words of the company that make a request stricter: projects, products before launch. Sealed; LOB empty = everybody's."""

    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="dictionaries"
    )
    lob = models.ForeignKey(
        "tenancy.LineOfBusiness", null=True, blank=True, on_delete=models.CASCADE, related_name="dictionaries",
        verbose_name=_("line of business"),
    )  # fmt: skip
    name = models.CharField(_("name"), max_length=63)
    sensitivity = models.CharField(
        _("class"), max_length=12, choices=[(c, c) for c in CLASSES], default="confidential"
    )
    sealed_terms = models.TextField(editable=False, default="")
    active = models.BooleanField(_("active"), default=True)
    note = models.CharField(_("note"), max_length=300, blank=True)
    changed_at = models.DateTimeField(auto_now=True)
    created_at = models.DateTimeField(default=now, editable=False)

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"
    tenant_organisation = "organisation_id"

    class Meta:
        verbose_name = _("dictionary of sensitive terms")
        verbose_name_plural = _("dictionaries of sensitive terms")
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="dictionary_name_in_organisation")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def terms(self) -> list[str]:
        """Unsealed. Raises cryptography.fernet.InvalidToken when the key is gone."""
        return list(orjson.loads(open_secret(self.sealed_terms))) if self.sealed_terms else []

    @terms.setter
    def terms(self, values: list[str]) -> None:
        self.sealed_terms = seal_secret(orjson.dumps(values).decode())
