"""Short forms of values: teachers, students, models with settings."""

from __future__ import annotations

import os
import re
from typing import Any

from potstill.errors import UserError
from potstill.recipe.yaml import YamlProblem, parse_yaml

_HUB_DATA = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)*/[A-Za-z0-9][\w-]*")
_SETTINGS = re.compile(r"(?P<source>.+?):(?P<settings>\w+=[^:/]+)$")
_OUTSIDE_BRACKETS = re.compile(r",(?![^\[{]*[\]}])")


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
    """``[NAME=]MODEL`` as the name (or None) and the rest."""
    name, separator, rest = text.partition("=")
    return (name, rest) if separator and not {"/", ":"} & set(name) else (None, text)


def is_hub_data(path: str) -> bool:
    """Whether an entry of ``data.paths`` can be a data set on the hub: ``ORG/NAME`` or ``ORG/NAME/FOLDER``, and no part
    of it is here."""
    return _HUB_DATA.fullmatch(path) is not None and not os.path.exists(path.partition("/")[0])


def is_embedded(path: str) -> bool:
    """Whether an entry of ``data.paths`` names a data set of the package: ``embedded`` or ``embedded/NAME``."""
    return path.split("/")[0] == "embedded"


def parse_source(text: str) -> tuple[str, dict[str, Any]]:
    """``MODEL[:key=value,…]`` as the model's location and the settings with which to load it."""
    match = _SETTINGS.fullmatch(text)
    if match is None:
        return text, {}
    return match["source"], _pairs(match["settings"], text)


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
    """``key=value,…`` as a mapping; ``where`` is the start of an error message."""
    pairs: dict[str, Any] = {}
    for pair in filter(None, _OUTSIDE_BRACKETS.split(text)):
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(
                f"{where}: {pair!r} is not a key=value pair; write for example num_layers=3,d_model=384.",
                key="option.not_a_setting",
            )
        try:
            pairs[key.strip()] = parse_yaml(value)
        except YamlProblem as problem:
            raise UserError(
                f"{where}: {pair!r}: the value cannot be read ({problem.what}); check its brackets and quotes.",
                key="option.not_yaml",
            ) from None
    return pairs
