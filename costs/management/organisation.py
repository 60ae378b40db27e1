"""The organisation that a command is for."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import CommandError

from switchyard.tenancy.models import Organisation


def add_organisation(parser: ArgumentParser) -> None:
    parser.add_argument("--organisation", help="Slug; the only one when left out.")


def organisation_named(slug: str | None) -> Organisation:
    found = list(Organisation.objects.filter(slug=slug) if slug else Organisation.objects.all()[:2])
    if len(found) != 1:
        raise CommandError(f"There is no organisation {slug!r}." if slug else "Name one with --organisation.")
    return found[0]
