"""A document as text: YAML read safely, and where in it each value stands."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from routing.policy.said import Said, _
from switchyard.core.errors import ValidationFailed

MAX_BYTES, MAX_DEPTH = 200_000, 12
_UNSEEN = re.compile("[\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HINT = Said(" ") + _("An expression that begins with a quote, `!` or `[` must stand in quotes as a whole.")

# What the library says most often of a text that is no YAML.
PROBLEMS: dict[str, str] = {
    str(problem): problem
    for problem in (
        _("did not find expected key"),
        _("did not find expected ',' or ']'"),
        _("did not find expected ',' or '}'"),
        _("did not find expected '-' indicator"),
        _("did not find expected node content"),
        _("did not find expected <document start>"),
        _("could not find expected ':'"),
        _("mapping values are not allowed in this context"),
        _("block sequence entries are not allowed in this context"),
        _("block mapping keys are not allowed in this context"),
        _("found character that cannot start any token"),
        _("found a tab character that violates indentation"),
        _("found unexpected end of stream"),
        _("found undefined tag handle"),
        _("found unknown escape character"),
    )
}


@dataclass(slots=True)
class Source:
    """`positions`: path → (line, column) from 1. `scalars`: path → (style, first index, one past the last)."""

    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    positions: dict[str, tuple[int, int]] = field(default_factory=dict)
    scalars: dict[str, tuple[str, int, int]] = field(default_factory=dict)

    def at(self, path: str, offset: int = 0) -> tuple[int, int]:
        """Line and column of a value, or of the character `offset` into a text value."""
        while path and path not in self.positions:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        if not offset or path not in self.scalars:
            return self.positions.get(path, (1, 1))
        index = self._index(path, offset)
        return self.text.count("\n", 0, index) + 1, index - self.text.rfind("\n", 0, index)

    def _index(self, path: str, offset: int) -> int:
        """Folding and quoting change blanks, quotes and back-slashes only: walk both sides by all other characters."""
        style, index, end = self.scalars[path]
        value = str(self._value(path))
        if style in "|>":
            index = self.text.find("\n", index) + 1
        elif style in "\"'":
            index += 1
        skip = " \t\n\r" + ("\\" if style == '"' else "")
        ahead = sum(c not in skip for c in value[:offset])
        while index < end - 1 and (ahead or self.text[index] in skip):
            ahead -= self.text[index] not in skip
            index += 1
        return index

    def _value(self, path: str) -> Any:
        value: Any = self.data
        for part in path.replace("[", ".[").split("."):
            value = value[int(part[1:-1])] if part.startswith("[") else value[part]
        return value


class Faults:
    """Collects located faults; `raise_if_any` ends in one ValidationFailed that lists all of them."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.errors: list[dict[str, Any]] = []

    def add(self, path: str, message: str, offset: int = 0, **extra: Any) -> None:
        line, column = self.source.at(path, offset)
        self.errors.append({"path": path, "line": line, "column": column, "message": message} | extra)

    def raise_if_any(self) -> None:
        if self.errors:
            first = self.errors[0]
            more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
            raise ValidationFailed(f"{first['path'] or 'document'}: {first['message']}{more}", self.errors)


def unseen(text: str) -> list[dict[str, Any]]:
    """A fault for each line that holds characters which nobody sees, or which turn what stands beside them round: who approves a
    text must read what is in force (Boucher and Anderson 2021, arXiv 2111.00169)."""
    faults = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        found = _UNSEEN.search(line)
        if found:
            message = _("U+%(code)s can't be seen, or turns the text beside it round. Take it out.")
            told = message % {"code": f"{ord(found.group()):04X}"}
            faults.append({"path": "", "line": number, "column": found.start() + 1, "message": told})
    return faults


def load(text: str) -> Source:
    """Raises ValidationFailed: not YAML, aliases, nested too deep, a key twice, too large, or no mapping."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise ValidationFailed(_("The document is larger than %(most)s bytes.") % {"most": MAX_BYTES})
    try:
        _refuse_bombs(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        source = Source(text)
        if node is not None:
            _locate(node, "", source)
        data = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _refused(_not_yaml(error.problem or error.context or "") + _HINT, line, column) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise _refused(_not_yaml(str(error).splitlines()[0]), 1, 1) from None
    except (ValueError, TypeError) as error:  # a date that is none, a key that can't be one
        raise _refused(_("A value can't be read: %(why)s.") % {"why": str(error)}, 1, 1) from None
    if not isinstance(data, dict):
        raise _refused(
            _(
                "The document must be a mapping with `rules`, and for the organisation `invariants` and `default`."
            ),
            1,
            1,
        )
    source.data = data
    return source


def _not_yaml(problem: str) -> Said:
    return _("Not YAML: %(problem)s.") % {"problem": PROBLEMS.get(problem, problem)}


def _refused(message: str, line: int, column: int) -> ValidationFailed:
    return ValidationFailed(message, [{"path": "", "line": line, "column": column, "message": message}])


def _refuse_bombs(text: str) -> None:
    """Aliases make a small text an endless document, and depth a crash of the parser: both stop here, on the events."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem=_("anchors and aliases are not used in policies"),
                problem_mark=event.start_mark,  # type: ignore[arg-type]
            )
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise yaml.MarkedYAMLError(
                    problem=_("nested deeper than %(most)s") % {"most": MAX_DEPTH},
                    problem_mark=event.start_mark,  # type: ignore[arg-type]
                )
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _locate(node: yaml.Node, path: str, source: Source) -> None:
    source.positions[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                raise yaml.MarkedYAMLError(
                    problem=_("%(name)s is given twice") % {"name": repr(name)}, problem_mark=key.start_mark
                )
            seen.add(name)
            _locate(value, f"{path}.{name}" if path else name, source)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _locate(value, f"{path}[{i}]", source)
    elif isinstance(node, yaml.ScalarNode):
        source.scalars[path] = (node.style or " ", node.start_mark.index, node.end_mark.index)


def finite(value: Any) -> bool:
    """Whether a number is one that can be compared: `.nan` and `.inf` slip through a schema's bounds."""
    return not isinstance(value, float) or math.isfinite(value)
