"""How values are written: YAML as people mean it, teachers and students in short."""

from __future__ import annotations

import re
from typing import Any

import yaml

from potstill.errors import UserError

_SETTINGS = re.compile(r"(?P<source>.+?):(?P<settings>\w+=[^:/]+)$")
_OUTSIDE_BRACKETS = re.compile(r",(?![^\[{]*[\]}])")


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of version 1.2: 8:1:1 and 2020-01-31 stay text, 1e-3 is a number."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the class attribute is how PyYAML is configured)
        first: [(tag, shape) for tag, shape in pairs if tag.rpartition(":")[2] not in ("int", "float", "timestamp")]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9]\d*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    list("-+.0123456789"),
)


class Dumper(yaml.SafeDumper):
    """Quotes the texts that the loader would take for numbers."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def parse_yaml(text: str) -> Any:
    """A YAML document or scalar as a value; raises yaml.YAMLError."""
    return yaml.load(text, Loader=_Loader)


def parse_teachers(value: Any) -> list[Any]:
    """``[NAME=]ID_OR_FOLDER[:WEIGHT]`` strings, mappings, or a list of either, as a list of mappings."""
    if value is None:
        return []
    items = value if isinstance(value, (list, tuple)) else [value]
    return [_parse_teacher(item) if isinstance(item, str) else item for item in items]


def _parse_teacher(text: str) -> dict[str, Any]:
    name, rest = parse_named(text)
    source, separator, weight = rest.rpartition(":")
    try:
        parsed = {"source": source, "weight": float(weight)} if separator else {"source": rest}
    except ValueError:
        parsed = {"source": rest}
    return {**parsed, "name": name} if name else parsed


def parse_named(text: str) -> tuple[str | None, str]:
    """``[NAME=]MODEL`` as the name, where there is one, and the rest."""
    name, separator, rest = text.partition("=")
    return (name, rest) if separator and not {"/", ":"} & set(name) else (None, text)


def parse_source(text: str) -> tuple[str, dict[str, Any]]:
    """``MODEL[:key=value,…]`` as the model's place and the settings that it is to be loaded with."""
    found = _SETTINGS.fullmatch(text)
    if found is None:
        return text, {}
    return found["source"], _pairs(found["settings"], text)


def parse_student(text: str) -> dict[str, Any]:
    """``FAMILY[:key=value,…]`` or ``key=value,…`` (the teacher's own family) as a mapping."""
    head, separator, tail = text.partition(":")
    if not separator and "=" in text:
        head, tail = "", text
    overrides = _pairs(tail, "--student")
    parsed: dict[str, Any] = {"overrides": overrides}
    for key in ("start", "preset"):
        if key in overrides:
            parsed[key] = str(overrides.pop(key))
    if head.strip():
        parsed["family"] = head.strip()
    return parsed


def _pairs(text: str, where: str) -> dict[str, Any]:
    """``key=value,…`` as a mapping; ``where`` begins the message that says what cannot be read."""
    found: dict[str, Any] = {}
    for pair in filter(None, _OUTSIDE_BRACKETS.split(text)):
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{where}: {pair!r} is no key=value pair; write for example num_layers=3,d_model=384.")
        try:
            found[key.strip()] = parse_yaml(value)
        except yaml.YAMLError:
            raise UserError(f"{where}: {pair!r}: {value!r} cannot be read as a value; check its brackets.") from None
    return found
