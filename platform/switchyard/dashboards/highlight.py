"""Colours for a policy's text: YAML keys, names, CEL words. Every piece is escaped before it is wrapped."""

from __future__ import annotations

import re

from django.utils.html import escape

KINDS = {
    "comment": r"#.*$",
    "key": r"^\s*(?:-\s+)?[A-Za-z_][\w-]*(?=\s*:)",
    "string": r"\"[^\"]*\"|'[^']*'",
    "fact": r"\b(?:request|workload|lob|data|budget|private|quality|time|target)\.[a-z_]+\b|\bhop\b",
    "word": r"\b(?:deny|true|false|in|has|cheapest|fastest|best|public|internal|confidential|restricted)\b",
    "number": r"\b\d+(?:\.\d+)?\b",
    "operator": r"&&|\|\||[<>=!]=|[<>!]",
}
_TOKEN = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in KINDS.items()))


def pattern_for_scripts() -> list[list[str]]:
    """[[kind, pattern]] in order: the same colours while somebody types. JavaScript reads these patterns alike."""
    return [[name, pattern] for name, pattern in KINDS.items()]


def highlight_policy(document: str) -> list[str]:
    """One piece of safe HTML for each line."""
    return [_line(line) for line in document.splitlines()] or [""]


def _line(line: str) -> str:
    out, end = [], 0
    for match in _TOKEN.finditer(line):
        out.append(escape(line[end : match.start()]))
        out.append(f'<span class="t-{match.lastgroup}">{escape(match.group())}</span>')
        end = match.end()
    out.append(escape(line[end:]))
    return "".join(out)
