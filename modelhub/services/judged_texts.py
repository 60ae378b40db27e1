"""Texts of a workload's golden set: rows that are uploaded to learn from are held against them."""

from __future__ import annotations

from modelhub.services.golden import golden_rows
from switchyard.tenancy.models import Workload


def golden_texts(workload: Workload) -> list[str]:
    """Those of the set in force; none where there is no set, or it holds no texts. Raises ValidationFailed as golden_rows."""
    golden = workload.golden_sets.filter(active=True).select_related("workload__lob").first()
    return [text for text in golden_rows(golden).inputs if isinstance(text, str)] if golden else []
