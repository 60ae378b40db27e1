"""FOCUS columns: what each may hold by version, and a validator that looks at every cell. Pure.

1.2 after the published specification (tag v1.2): type, feature level, nullability, allowed values, and the rules between
columns that apply to what we export. Of 1.4 (ratified on 2026-06-04) we know that the allowed values are those of 1.2, that
ProviderName and PublisherName are gone, that ServiceProviderName, HostProviderName took their place, and that
InvoiceDetailId, the Allocated… columns, ContractApplied and CommitmentProgramEligibilityDetails are conditional and
nullable; its new rules for BilledCost and EffectiveCost and its other data sets (invoices, contracts) aren't checked here.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from fractions import Fraction

VERSIONS = ("1.2", "1.4")
TEXT, DECIMAL, TIME, JSON = "String", "Decimal", "Date/Time", "JSON"
AI = "AI and Machine Learning"
SERVICE_CATEGORIES = (
    AI, "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools", "Multicloud", "Identity",
    "Integration", "Internet of Things", "Management and Governance", "Media", "Migration", "Mobile", "Networking",
    "Security", "Storage", "Web", "Other",
)  # fmt: skip
SUBCATEGORIES = tuple(
    f"{name}" for name in ("AI Platforms", "Bots", "Generative AI", "Machine Learning", "Natural Language Processing",
                           f"Other ({AI})")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """`level`: M mandatory, C conditional, R recommended, x our own."""

    name: str
    type: str
    level: str
    nullable: bool
    allowed: tuple[str, ...] = ()
    versions: tuple[str, ...] = VERSIONS


_OLD, _NEW = ("1.2",), ("1.4",)
COLUMNS: tuple[Column, ...] = (
    Column("BilledCost", DECIMAL, "M", False),
    Column("BillingAccountId", TEXT, "M", False),
    Column("BillingAccountName", TEXT, "M", True),
    Column("BillingAccountType", TEXT, "C", False),
    Column("BillingCurrency", TEXT, "M", False),
    Column("BillingPeriodEnd", TIME, "M", False),
    Column("BillingPeriodStart", TIME, "M", False),
    Column("ChargeCategory", TEXT, "M", False, ("Usage", "Purchase", "Tax", "Credit", "Adjustment")),
    Column("ChargeClass", TEXT, "M", True, ("Correction",)),
    Column("ChargeDescription", TEXT, "M", True),
    Column("ChargeFrequency", TEXT, "R", False, ("One-Time", "Recurring", "Usage-Based")),
    Column("ChargePeriodEnd", TIME, "M", False),
    Column("ChargePeriodStart", TIME, "M", False),
    Column("ConsumedQuantity", DECIMAL, "C", True),
    Column("ConsumedUnit", TEXT, "C", True),
    Column("ContractedCost", DECIMAL, "M", False),
    Column("ContractedUnitPrice", DECIMAL, "C", True),
    Column("EffectiveCost", DECIMAL, "M", False),
    Column("HostProviderName", TEXT, "M", True, versions=_NEW),
    Column("InvoiceDetailId", TEXT, "C", True, versions=_NEW),
    Column("InvoiceId", TEXT, "R", True),
    Column("InvoiceIssuerName", TEXT, "M", False),
    Column("ListCost", DECIMAL, "M", False),
    Column("ListUnitPrice", DECIMAL, "C", True),
    Column("PricingCategory", TEXT, "C", True, ("Standard", "Dynamic", "Committed", "Other")),
    Column("PricingQuantity", DECIMAL, "M", True),
    Column("PricingUnit", TEXT, "M", True),
    Column("ProviderName", TEXT, "M", False, versions=_OLD),
    Column("PublisherName", TEXT, "M", False, versions=_OLD),
    Column("RegionId", TEXT, "C", True),
    Column("RegionName", TEXT, "C", True),
    Column("ResourceId", TEXT, "C", True),
    Column("ResourceName", TEXT, "C", True),
    Column("ResourceType", TEXT, "C", True),
    Column("ServiceCategory", TEXT, "M", False, SERVICE_CATEGORIES),
    Column("ServiceName", TEXT, "M", False),
    Column("ServiceProviderName", TEXT, "M", False, versions=_NEW),
    Column("ServiceSubcategory", TEXT, "R", False, SUBCATEGORIES),
    Column("SkuId", TEXT, "C", True),
    Column("SkuMeter", TEXT, "C", True),
    Column("SkuPriceDetails", JSON, "C", True),
    Column("SkuPriceId", TEXT, "C", True),
    Column("SubAccountId", TEXT, "C", True),
    Column("SubAccountName", TEXT, "C", True),
    Column("SubAccountType", TEXT, "C", True),
    Column("Tags", JSON, "C", True),
    Column("x_Route", TEXT, "x", False, ("private", "external")),
    Column("x_PolicyVersion", TEXT, "x", True),
    Column("x_CorrectAnswers", DECIMAL, "x", True),
    Column("x_Estimated", TEXT, "x", False, ("true", "false")),
    Column("x_Workload", TEXT, "x", True),
    Column("x_Purpose", TEXT, "x", False),
    Column("x_Deployment", TEXT, "x", False),
)
ONE_PARENT = (("SkuPriceId", "SkuId"), ("SkuId", "SkuMeter"), ("ServiceName", "ServiceCategory"),
              ("ServiceName", "ServiceSubcategory"))  # fmt: skip
NOT_ON_TAX = (
    "ContractedUnitPrice",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "SkuId",
    "SkuPriceId",
)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
Row = Mapping[str, str]  # empty text is null


def columns_of(version: str) -> list[Column]:
    """ValueError for a version that we don't write."""
    if version not in VERSIONS:
        raise ValueError(f"FOCUS {version} isn't written here: expected {' or '.join(VERSIONS)}.")
    return [column for column in COLUMNS if version in column.versions]


def validate_csv(lines: Iterable[str], version: str, *, most: int = 50) -> tuple[int, list[str]]:
    """(rows, what is wrong): the header, then every cell, then the rules between columns; at most so many findings."""
    reader = csv.reader(lines)
    header = next(reader, [])
    wanted = [column.name for column in columns_of(version)]
    faults = [] if header == wanted else [_header_fault(header, wanted)]
    parents: dict[tuple[str, ...], str] = {}
    rows = 0
    for rows, cells in enumerate(reader, start=1):
        if len(cells) != len(header):
            faults.append(f"Row {rows} has {len(cells)} cells, the header {len(header)}.")
        elif header == wanted:
            row = dict(zip(header, cells, strict=True))
            faults += [
                f"Row {rows}: {fault}" for fault in (*validate_row(row, version), *_parents(row, parents))
            ]
        if len(faults) >= most:
            break
    return rows, faults[:most]


def _parents(row: Row, known: dict[tuple[str, ...], str]) -> list[str]:
    """Names that belong to one other name, on whatever row they stand: the first row says to which."""
    faults = []
    for child, parent in ONE_PARENT:
        first = known.setdefault((child, parent, row[child]), row[parent])
        if row[child] and first != row[parent]:
            faults.append(
                f"{child} {row[child]!r} stands with {parent} {row[parent]!r}, before it with {first!r}."
            )
    return faults


def _header_fault(header: Sequence[str], wanted: Sequence[str]) -> str:
    missing = [name for name in wanted if name not in header]
    strange = [name for name in header if name not in wanted]
    return f"The header isn't that of the version: missing {missing}, unknown {strange}, or in another order."


def validate_row(row: Row, version: str) -> list[str]:
    """Every column by itself; where those hold, the rules between them."""
    faults = [fault for column in columns_of(version) if (fault := _cell(column, row[column.name]))]
    return faults or _between(row)


def _cell(column: Column, value: str) -> str:
    if value == "":
        return "" if column.nullable else f"{column.name} is null."
    if column.allowed and value not in column.allowed:
        return f"{column.name} is {value!r}, which is none of {', '.join(column.allowed)}."
    if column.type == DECIMAL and not _NUMBER.fullmatch(value):
        return f"{column.name} is {value!r}, no decimal number."
    if column.type == TIME and not _is_time(value):
        return f"{column.name} is {value!r}, not YYYY-MM-DDTHH:mm:ssZ."
    if column.type == JSON and not _is_object(value):
        return f"{column.name} is no JSON object of plain values."
    if column.name == "BillingCurrency" and not re.fullmatch("[A-Z]{3}", value):
        return f"BillingCurrency is {value!r}, no ISO 4217 code."
    return ""


def _is_time(value: str) -> bool:
    try:
        return bool(_TIME.fullmatch(value)) and datetime.fromisoformat(value) is not None
    except ValueError:
        return False


def _is_object(value: str) -> bool:
    try:
        found = json.loads(value)
    except ValueError:
        return False
    return isinstance(found, dict) and not any(isinstance(v, dict | list) for v in found.values())


def _between(row: Row) -> list[str]:
    """The specification's rules between columns, as far as they touch what we write."""
    faults = []
    usage, correction = row["ChargeCategory"] == "Usage", row["ChargeClass"] == "Correction"
    if (
        row["ChargePeriodEnd"] <= row["ChargePeriodStart"]
        or row["BillingPeriodEnd"] <= row["BillingPeriodStart"]
    ):
        faults.append("a period ends before it begins (ends are exclusive).")
    if not row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["BillingPeriodEnd"] and not correction:
        faults.append("the charge period lies outside of the billing period.")
    for pair in (("ConsumedQuantity", "ConsumedUnit"), ("PricingQuantity", "PricingUnit"), ("SubAccountId", "SubAccountName"),
                 ("SubAccountId", "SubAccountType"), ("ResourceId", "ResourceType"), ("RegionId", "RegionName"),
                 ("SkuId", "SkuMeter"), ("SkuId", "SkuPriceId")):  # fmt: skip
        if (row[pair[0]] == "") != (row[pair[1]] == ""):
            faults.append(f"{pair[0]} and {pair[1]} must be null together.")
    if usage and not correction:
        needed = ("ConsumedQuantity", "PricingQuantity", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory", "SkuId",
                  "SkuPriceId")  # fmt: skip
        faults += [f"{name} is null on a row of usage." for name in needed if row[name] == ""]
    for name, needed_too in (("ResourceName", "ResourceId"), ("SkuPriceDetails", "SkuPriceId")):
        if row[name] != "" and row[needed_too] == "":
            faults.append(f"{name} stands without {needed_too}.")
    if row["ChargeCategory"] == "Purchase" and row["ChargeFrequency"] == "Usage-Based":
        faults.append("ChargeFrequency is Usage-Based on a purchase.")
    if row["ChargeCategory"] == "Tax":
        faults += [f"{name} stands on a row of tax." for name in NOT_ON_TAX if row[name] != ""]
    if not usage and row["ConsumedQuantity"] != "":
        faults.append("ConsumedQuantity stands on a row that is no usage.")
    return faults + _products(row)


def _products(row: Row) -> list[str]:
    """Quantity × unit price is the cost, exactly, on every row; unit prices aren't negative."""
    faults = []
    for price, cost in (("ContractedUnitPrice", "ContractedCost"), ("ListUnitPrice", "ListCost")):
        if row[price] == "" or row["PricingQuantity"] == "":
            continue
        try:
            each, quantity, total = (
                Fraction(Decimal(text)) for text in (row[price], row["PricingQuantity"], row[cost])
            )  # exact, whatever their length
        except InvalidOperation:
            continue
        if each < 0:
            faults.append(f"{price} is negative.")
        if each * quantity != total:
            faults.append(f"{price} × PricingQuantity is {float(each * quantity)}, {cost} says {row[cost]}.")
    return faults
