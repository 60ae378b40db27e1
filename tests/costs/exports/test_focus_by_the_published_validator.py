"""An export through the FinOps Foundation's own validator, where it is installed (FOCUS_VALIDATOR names its command)."""

from __future__ import annotations

import os
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from costs.exports.focus import Export, focus_csv
from costs.metering import record_events
from costs.rollups import day_of, refresh
from switchyard.tenancy.querysets import Scope
from tests import factories
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

COMMAND = os.environ.get("FOCUS_VALIDATOR", "")
COMMITMENTS = "1.0 wants the columns of commitments from everybody; 1.2 from those who sell any"
RENAMED = "the rule looks for a name that no FOCUS version had: the specification adds Name, or writes Id"
# Rules of its set 1.0 that fail, and why: nothing else may.
KNOWN = {
    **{
        f"CommitmentDiscount{what}_Required": COMMITMENTS
        for what in ("Category", "Id", "Name", "Status", "Type")
    },
    **dict.fromkeys(
        ("InvoiceIssuer_Required", "Provider_Required", "Publisher_Required", "ResourceID_Required"), RENAMED
    ),
    "SkuPriceId_Nullable": "the rule reads ChargeType, which FOCUS 1.0 called ChargeCategory already",
    "BillingCurrency_IsCurrencyCode": "the package lacks the list of currencies that the rule reads",
}


def failures(said: str) -> set[str]:
    return set(re.findall(r"^(\w+) failed:$", said, re.MULTILINE))


def test_the_report_is_read() -> None:
    assert failures("BilledCost_NotNull failed:\n\tDescription: x\n\nA_B failed:\n") == {
        "BilledCost_NotNull",
        "A_B",
    }


@pytest.mark.django_db
@pytest.mark.skipif(not COMMAND, reason="FOCUS_VALIDATOR names no validator")
def test_the_published_validator_finds_only_what_1_2_changed(tmp_path: Path) -> None:
    organisation: Any = factories.make_organisation()
    factories.make_lob(organisation)
    record_events([
        make_event(make_attempt(cost_nusd=1_400, legs={"input": 1_000, "output": 400}), organisation_id=organisation.pk),
        make_event(private_attempt(cost_nusd=900, legs={"compute": 900}), organisation_id=organisation.pk),
    ])  # fmt: skip
    refresh(NOON, NOON)
    scope = Scope(organisation.pk, None, None, frozenset({"finance"}))
    path, day = tmp_path / "focus.csv", day_of(NOON)
    path.write_text("".join(focus_csv(Export(scope, day, day + timedelta(days=1)))), encoding="utf-8")
    words = [COMMAND, "--data-file", str(path), "--validate-version", "1.0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    found = failures(done.stdout + done.stderr)
    assert found, f"It said nothing that is understood here: {done.stdout[-500:]} {done.stderr[-500:]}"
    assert found <= set(KNOWN)
