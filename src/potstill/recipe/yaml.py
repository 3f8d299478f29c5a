"""YAML 1.2 as recipes use it: mappings, lists and scalars, without tags, anchors and aliases."""

from __future__ import annotations

import io
import re
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, NodeEvent
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver

MAX_DEPTH = 32  # a recipe needs five levels; the library recurses once per level
YAML_TAG = "tag:yaml.org,2002:"
#: patterns of plain scalars that are not text; text are for example 8:1:1, 2020-01-31, yes, 007, 1_000
SCALAR_PATTERNS = {
    "null": (re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"[-+]?(0|[1-9]\d*)$", re.ASCII), list("-+0123456789")),
    "float": (
        re.compile(
            r"[-+]?((\.\d+|\d+\.\d*)([eE][-+]?\d+)?|\d+[eE][-+]?\d+)$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
            re.ASCII,
        ),
        list("-+.0123456789"),
    ),
}


class YamlProblem(ValueError):
    """Text that cannot be parsed. ``what`` is a clause for a message; ``line`` counts from 1, None if unknown."""

    def __init__(self, what: str, line: int | None = None):
        super().__init__(what if line is None else f"line {line}: {what}")
        self.what, self.line = what, line


class _Resolver(VersionedResolver):
    """Reads and writes the same kinds of scalars, whatever YAML version a directive names."""

    resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    @property
    def versioned_resolver(self) -> dict[str, list[tuple[str, re.Pattern[str]]]]:
        return self.resolvers


for _kind, (_shape, _first) in SCALAR_PATTERNS.items():
    for _character in _first:
        _Resolver.resolvers.setdefault(_character, []).append((YAML_TAG + _kind, _shape))


class _Representer(SafeRepresenter):
    """Writes a value that occurs in two places twice, without aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Any:
        """Use double quotes with escapes for characters that single quotes would fold or lose."""
        return self.represent_scalar(f"{YAML_TAG}str", data, style=None if data.isprintable() else '"')


_Representer.add_representer(str, _Representer.represent_str)


def parse_yaml(text: str) -> Any:
    """A YAML document or scalar as a plain value.

    Raises
    ------
    YamlProblem
        If the text is not YAML, is nested too deeply, repeats a key, or uses tags, anchors or aliases.
    """
    try:
        _check(text)
        return _yaml().load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        parts = [getattr(error, name, None) for name in ("context", "problem")]
        what = ", ".join(part for part in parts if part) or str(error)
        raise YamlProblem(_short(what), mark.line + 1 if mark else None) from None
    except YamlProblem:
        raise
    except (TypeError, ValueError) as error:  # a mapping as a key; an integer with more digits than Python parses
        raise YamlProblem(_short(str(error))) from None


def to_yaml(tree: dict[str, Any]) -> str:
    """Plain values as YAML that ``parse_yaml`` reads back equal; keys stay in order."""
    stream = io.StringIO()
    _yaml().dump(tree, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Representer = _Resolver, _Representer
    yaml.default_flow_style, yaml.allow_unicode = False, True
    yaml.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    return yaml


def _check(text: str) -> None:
    """Reject what a recipe does not need, using the parser's events, which need no recursion."""
    depth = 0
    for event in _yaml().parse(text):
        line = event.start_mark.line + 1
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlProblem(f"more than {MAX_DEPTH} levels of brackets or indentation", line)
        if isinstance(event, NodeEvent) and event.anchor is not None:
            raise YamlProblem("anchors and aliases (&, *) are not supported; write the value out", line)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise YamlProblem(f"the tag {str(tag).replace(YAML_TAG, '!!')} is not supported; write a plain value", line)


def _short(text: str, longest: int = 160) -> str:
    """The text on one line, shortened to ``longest`` characters."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[:longest]}…"
