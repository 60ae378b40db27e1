"""What the output guard may do in each line of business: decided by its measured false alarms, not by hope."""

from __future__ import annotations

from dataclasses import dataclass

from modelhub import artifacts
from switchyard.demo import company

FALLBACK_THRESHOLD = 0.9
MAX_HARMLESS_BLOCKED = 0.10


@dataclass(frozen=True)
class GuardSetting:
    mode: str
    threshold: float
    why: str


def setting_for(lob: str) -> GuardSetting:
    """`enforce` once at most a tenth of the harmless HateCheck sentences that name a group would be blocked.

    Until then every line of business only observes, but for the one that demonstrates withholding.
    """
    try:
        manifest = artifacts.load_manifest(artifacts.find("risk-guard"))
    except artifacts.ArtifactMissing:
        return GuardSetting("off", FALLBACK_THRESHOLD, "no risk model is installed")
    threshold = float(manifest.get("thresholds", {}).get("default", FALLBACK_THRESHOLD))
    measured = manifest.get("metrics", {}).get("hatecheck", {}).get("harmless_naming_a_group_blocked", {})
    blocked = float(measured.get("value", 1.0))
    why = f"it would block {blocked:.0%} of the harmless sentences of HateCheck that name a group"
    if blocked <= MAX_HARMLESS_BLOCKED or lob == company.ENFORCING_LOB:
        return GuardSetting("enforce", threshold, why)
    return GuardSetting("observe", threshold, why)
