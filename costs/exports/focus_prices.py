"""The unit prices that a price version names, as exact dollars: the sheet's own, and with the batch share."""

from __future__ import annotations

from decimal import Context, Decimal

from costs.reconciliation.books import sheets_by_version

EXACT = Context(prec=200)
FIELDS = {
    "input": "input_nusd_per_munit", "cached_input": "cached_input_nusd_per_munit", "cache_write": "cache_write_nusd_per_munit",
    "output": "output_nusd_per_munit", "reasoning": "reasoning_nusd_per_munit", "calls": "call_nusd_per_munit",
    "seconds": "second_nusd_per_munit", "audio_input": "audio_input_nusd_per_munit",
    "audio_output": "audio_output_nusd_per_munit", "searches": "search_nusd_per_munit",
}  # fmt: skip
PPM = 1_000_000


class Prices:
    """Of one organisation. A node's rate isn't on a sheet: there the price is what the hours came to."""

    def __init__(self, organisation_id: int) -> None:
        self._sheet_named = sheets_by_version(organisation_id)

    def of(self, version: str, leg: str, per: int, batch: bool) -> tuple[Decimal | None, Decimal | None]:
        """(list price, agreed price) in dollars of so many units of a leg; None where the version names none."""
        sheet = self._sheet_named(version)
        nusd_per_munit = getattr(sheet, FIELDS[leg]) if sheet is not None and leg in FIELDS else None
        if sheet is None or nusd_per_munit is None:
            return None, None
        listed = EXACT.divide(Decimal(nusd_per_munit * per), Decimal(10**15))
        if not batch or sheet.batch_ppm is None:
            return listed, listed
        return listed, EXACT.divide(EXACT.multiply(listed, Decimal(sheet.batch_ppm)), Decimal(PPM))
