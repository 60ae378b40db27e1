"""Filters and tags of the pages: amounts, rates, icons, links that keep the question, code with its colours."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from django import template
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from switchyard.core.money import NUSD_PER_USD, usd_to_nusd
from switchyard.dashboards.highlight import highlight_policy
from switchyard.dashboards.reasons import reason_in_words

register = template.Library()
DASH = "–"


@register.filter
def usd(nusd: Any, places: int | None = None) -> str:
    """Nano-dollars for people: cents for large amounts, three significant digits below a dollar; never 1e-06."""
    if nusd in (None, ""):
        return DASH
    value = float(nusd) / NUSD_PER_USD
    size = abs(value)
    if size == 0:
        return "$0"
    sign = "−" if value < 0 else ""
    if places is None:
        places = 2 if size >= 1 else min(9, 2 - math.floor(math.log10(size)))
    return f"{sign}${size:,.{places}f}"


@register.filter
def dollars(value: Any) -> str:
    """An amount in decimal dollars, as REST gives it, for people."""
    return DASH if value in (None, "") else usd(usd_to_nusd(str(value)))


@register.filter
def rate(value: Any, places: int = 1) -> str:
    """Per cent; a share too small for that many places keeps two significant digits: it isn't nothing."""
    if value in (None, ""):
        return DASH
    shown = f"{value * 100:.{places}f}"
    return f"{value * 100:.2g} %" if value and float(shown) == 0 else f"{shown} %"


@register.filter
def count(value: Any) -> str:
    return DASH if value in (None, "") else f"{value:,}"


@register.filter
def figure(value: Any) -> str:
    """Three or four significant digits; whole numbers from a thousand on."""
    if value in (None, ""):
        return DASH
    if isinstance(value, int) or float(value).is_integer() or abs(value) >= 1000:
        return f"{round(value):,}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    text = f"{value:.4g}"
    return f"{Decimal(text):f}" if "e" in text else text


@register.filter
def change(value: Any) -> str:
    """A relative change with its sign; from tenfold on as a multiple."""
    if value in (None, ""):
        return DASH
    return f"×{value + 1:,.0f}" if value >= 9 else f"{'+' if value >= 0 else '−'}{rate(abs(value))}"


@register.filter
def moment(value: Any) -> str:
    if value in (None, ""):
        return DASH
    shown = formats.date_format(timezone.localtime(value), "Y-m-d H:i:s")
    return format_html("<time>{}</time>", shown)


@register.filter
def cell(value: Any, kind: str) -> Any:
    """One cell of a panel's table by its column's kind."""
    if hasattr(value, "url"):
        return format_html('<a href="{}">{}</a>', value.url, value.text)
    if value is None:
        return "" if kind == "verdict" else DASH
    if kind == "verdict":
        return badge(str(value))
    shapes = {"usd": usd, "rate": rate, "count": count, "number": figure, "time": moment}
    return shapes[kind](value) if kind in shapes and not isinstance(value, str) else value


@register.filter
def get(mapping: Any, key: Any) -> Any:
    return mapping.get(key) if hasattr(mapping, "get") else None


TONES = {
    "pass": "good", "live": "good", "succeeded": "good", "ok": "good", "confirmed": "bad", "fail": "bad", "failed": "bad",
    "error": "bad", "quarantined": "bad", "withhold": "bad", "not_enough_data": "warn", "paused": "warn", "open": "warn",
    "not_run": "warn", "rolled_back": "bad", "promoted": "good",
    "canary": "warn", "observe": "warn", "cancelled": "plain", "superseded": "plain", "retired": "plain", "draft": "plain",
    "running": "info", "queued": "info", "validated": "info", "candidate": "info", "private": "private",
    "external": "external", "restricted": "bad", "confidential": "warn", "completed": "good", "validating": "info",
    "in_progress": "info", "finalizing": "info", "cancelling": "warn", "expired": "warn", "closed": "good",
    "half_open": "warn", "resting": "warn", "alive": "good", "slow": "warn", "dead": "bad", "yes": "good", "no": "bad",
    "ignored": "warn",
}  # fmt: skip


@register.filter
def badge(value: str) -> SafeString:
    """A word of CONTRACTS in its colour; the word itself carries the meaning."""
    words = {
        "not_enough_data": _("not enough data"),
        "not_run": _("not run"),
        "pass": _("pass"),
        "fail": _("fail"),
    }
    return format_html(
        '<span class="badge {}">{}</span>', TONES.get(value, "plain"), words.get(value, value) or DASH
    )


@register.filter
def why(reasons: Any) -> str:
    """One reason of a decision, or several, in the reader's language."""
    several = reasons if isinstance(reasons, list | tuple) else [reasons]
    return "; ".join(map(reason_in_words, several))


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html('<svg class="icon" aria-hidden="true"><use href="#i-{}"></use></svg>', name)


@register.simple_tag(takes_context=True)
def query(context: Any, **changes: Any) -> str:
    """The current query string with some parts changed; None or empty removes one."""
    kept = context["request"].GET.copy()
    for name, value in changes.items():
        name = name.rstrip("_")
        if value in (None, ""):
            kept.pop(name, None)
        else:
            kept[name] = value
    return f"?{kept.urlencode()}"


@register.filter
def policy_lines(document: str) -> list[SafeString]:
    return [mark_safe(line) for line in highlight_policy(document)]


@register.filter
def diff_class(line: str) -> str:
    if line.startswith(("@@", "---", "+++")):
        return "meta"
    return {"+": "added", "-": "removed"}.get(line[:1], "")


@register.filter
def milliseconds(ns: int | None) -> str:
    """Nanoseconds as milliseconds."""
    return DASH if not ns else f"{ns / 1e6:.3g} ms"


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds as a person reads them: 12.3 s, 4 min 5 s, 2 h 10 min."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@register.filter
def flat_rows(result: Any, prefix: str = "", limit: int = 200) -> list[tuple[str, Any]]:
    """A report's nested figures as "a.b" → value, in order; lists of numbers are joined, long ones cut."""
    rows: list[tuple[str, Any]] = []
    for name, value in (result or {}).items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            rows += flat_rows(value, f"{path}.", limit)
        elif isinstance(value, list):
            rows.append((path, ", ".join(str(v) for v in value[:12]) + (" …" if len(value) > 12 else "")))
        else:
            rows.append((path, figure(value) if isinstance(value, float) else value))
    return rows[:limit]
