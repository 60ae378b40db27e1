"""The class of a request: the strictest of what was declared and what was found. It is only ever raised."""

from __future__ import annotations

from collections.abc import Iterable

from routing.contracts import RANK, SENSITIVITIES, strictest
from switchyard.core.errors import InvalidRequest

# A name alone, or the address of a computer, is everyday business; what identifies, pays or opens a door is not. An attempt
# to take a model over makes a request stricter, so that it never gains by it. What could not be read counts as the strictest
# class. The class of a customer's own term is the one its dictionary says, if that is stricter.
RAISES = {
    "iban": "confidential", "card": "confidential", "us_ssn": "confidential", "cn_resident_id": "confidential",
    "passport": "confidential", "mrn": "restricted", "email": "confidential", "private_key": "restricted",
    "api_key": "restricted", "jwt": "restricted", "url_password": "restricted", "password": "confidential",
    "phone": "confidential", "driver_license": "confidential", "bank_account": "confidential", "address": "confidential",
    "health": "confidential", "legal": "confidential", "injection": "confidential", "media": "confidential",
    "customer_term": "confidential", "uninspected": "restricted",
}  # fmt: skip


def declared(header: str) -> str:
    """The header's class, checked. Raises InvalidRequest for a word that is none."""
    value = header.strip().lower()
    if value and value not in RANK:
        raise InvalidRequest(
            f"X-Switchyard-Sensitivity is {header[:40]!r}; expected one of {', '.join(SENSITIVITIES)}.",
            param="X-Switchyard-Sensitivity",
        )
    return value


def classify(base: str, header: str, entities: Iterable[str]) -> str:
    """`base`: the workload's class, or the LOB's highest without one."""
    found = [RAISES[kind] for kind in entities if kind in RAISES]
    return strictest(base, *([header] if header else []), *found)
