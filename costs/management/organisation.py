"""How commands name the organisation, the line of business and the period they are for."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError
from rest_framework.exceptions import ValidationError

from costs.api.base import parse_time
from switchyard.core.clock import now
from switchyard.tenancy.models import Organisation


def add_organisation(parser: ArgumentParser, *, several: bool = False) -> None:
    left_out = "all of them" if several else "the only one"
    parser.add_argument("--organisation", help=f"Slug; {left_out} when left out.")


def organisation_named(slug: str | None) -> Organisation:
    """CommandError when there is none, or several to choose from."""
    found = list(Organisation.objects.filter(slug=slug) if slug else Organisation.objects.all()[:2])
    if len(found) != 1:
        raise CommandError(f"There is no organisation {slug!r}." if slug else "Name one with --organisation.")
    return found[0]


def check_line(organisation: Organisation, lob: str) -> None:
    """CommandError for a line of business that the organisation doesn't have."""
    if not organisation.lobs.filter(slug=lob).exists():
        raise CommandError(f"There is no line of business {lob!r}.")


def period_of(
    options: Mapping[str, Any], begins: Callable[[datetime], datetime]
) -> tuple[datetime, datetime]:
    """What --from and --to say; left out, the end is now, and the start is what `begins` gives of the end. CommandError for what
    is no time."""
    try:
        end = parse_time("to", options["end"], now())
        return parse_time("from", options["start"], begins(end)), end
    except ValidationError as error:
        raise CommandError(str(error.detail)) from None
