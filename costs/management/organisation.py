"""How commands name the organisation they are for."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import CommandError

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
