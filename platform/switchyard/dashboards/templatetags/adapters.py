"""The part of the models' page about fine-tuned models: what they share, what each has of its own, which could be one."""

from __future__ import annotations

from typing import Any

from django import template

from modelhub.selectors.fragmentation import fragmentation

register = template.Library()


@register.inclusion_tag("modelhub/adapters.html", takes_context=True)
def adapters_section(context: Any) -> dict[str, Any]:
    """Families of the reader's scope; of the chosen line of business where one is chosen."""
    families = fragmentation(context["ask"].scope, lob=context["ask"].lob or "")
    return {"families": families}


@register.filter
def mebibytes(size: int) -> str:
    """Bytes for people; small ones keep two digits."""
    value = size / 2**20
    return f"{value:,.0f} MiB" if value >= 10 else f"{value:.2g} MiB"
