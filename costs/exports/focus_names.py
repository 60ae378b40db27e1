"""The names of a FOCUS row: who was billed, whose work it was, who answered."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps

from costs.books.fiscal import month_end
from costs.exports.focus_columns import AI
from switchyard.tenancy.models import Application, LineOfBusiness, Organisation

DAY = timedelta(days=1)
TAGGED = ("workload", "purpose", "deployment", "node", "origin")


class Names:
    """Of one organisation, looked up once; rows keep the names they were booked under, renamed or not."""

    def __init__(self, organisation_id: int) -> None:
        self.organisation_id = organisation_id
        self.organisation = Organisation.objects.get(pk=organisation_id)
        self.lobs = dict(
            LineOfBusiness.objects.filter(organisation_id=organisation_id).values_list("slug", "name")
        )
        found = Application.objects.filter(lob__organisation_id=organisation_id)
        self.applications = dict(found.values_list("slug", "name"))
        deployments = apps.get_model("modelhub", "Deployment").objects.filter(organisation_id=organisation_id)
        self.regions = dict(deployments.values_list("name", "region"))

    def policy_versions(self, start: datetime, end: datetime) -> Mapping[tuple[str, str, str], str]:
        """(line of business, application, deployment) → the policy versions that sent work there."""
        records = apps.get_model("routing", "DecisionRecord").objects.filter(
            organisation_id=self.organisation_id, at__gte=start, at__lt=end
        )
        found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
        names = ("lob", "application", "deployment", "policy_version")
        for lob, application, deployment, version in records.order_by(*names).values_list(*names).distinct():
            found[(lob, application, deployment)].append(version)
        return {key: "; ".join(versions) for key, versions in found.items()}

    def base(
        self,
        row: Mapping[str, Any],
        day: datetime,
        billed_in: datetime,
        versions: Mapping[tuple[str, str, str], str],
    ) -> dict[str, str]:
        """What every row of these names says; `billed_in` is the first moment of its billing period."""
        own, lob, application = row["side"] == "private", row["lob"], row["application"]
        provider = self.organisation.name if own else row["deployment"]
        tags = {name: row[name] for name in TAGGED if row.get(name)}
        region = self.regions.get(row["deployment"], "")
        return {
            "BillingAccountId": self.organisation.slug, "BillingAccountName": self.organisation.name,
            "BillingAccountType": "Organisation", "BillingCurrency": "USD", "BillingPeriodStart": stamp(billed_in),
            "BillingPeriodEnd": stamp(month_end(billed_in)), "ChargePeriodStart": stamp(day), "ChargePeriodEnd": stamp(day + DAY),
            "ChargeClass": "", "InvoiceId": "", "InvoiceDetailId": "", "InvoiceIssuerName": provider, "ProviderName": provider,
            "PublisherName": provider, "ServiceProviderName": provider, "HostProviderName": provider if own else "",
            "RegionId": region, "RegionName": region, "ResourceId": application,
            "ResourceName": self.applications.get(application, application), "ResourceType": "Application" if application else "",
            "ServiceCategory": AI, "ServiceName": "Own models" if own else f"{row['deployment']} models",
            "ServiceSubcategory": "Machine Learning", "SkuId": row["model"] or row["deployment"],
            "SkuPriceId": row["price_version"] or "unpriced", "SkuPriceDetails": "", "SubAccountId": lob,
            "SubAccountName": self.lobs.get(lob, lob), "SubAccountType": "Line of business" if lob else "",
            "Tags": json.dumps(tags, ensure_ascii=False, sort_keys=True), "x_Route": row["side"],
            "x_PolicyVersion": versions.get((lob, application, row["deployment"]), ""),
            "x_Estimated": "true" if row["usage_source"] == "estimated" else "false", "x_Workload": row["workload"],
            "x_Purpose": row["purpose"], "x_Deployment": row["deployment"],
        }  # fmt: skip


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
