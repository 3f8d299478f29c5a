"""What is typed, as values: options laid over a recipe, lists, quantile levels."""

from __future__ import annotations

from typing import Any

import yaml

from potstill.errors import UserError
from potstill.recipe import Recipe
from potstill.recipe.notation import parse_yaml
from potstill.recipe.options import OPTIONS


def recipe_of(path: str | None, settings: list[str] | None, **options: Any) -> Recipe:
    """The recipe file (or the defaults) with the options that were given laid over it, ``--set`` last."""
    given = {OPTIONS[name]: value for name, value in options.items() if value is not None}
    return Recipe.read(path, {**given, **dict(setting(text) for text in settings or [])})


def setting(text: str) -> tuple[str, Any]:
    """``DOTTED.KEY=VALUE`` as key and value."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected DOTTED.KEY=VALUE, for example training.clip=0.5.")
    try:
        return key, parse_yaml(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value is not valid YAML; quote it.") from None


def levels(text: str) -> list[float]:
    """Quantile levels, ascending."""
    try:
        found = [float(part) for part in names(text) or []]
    except ValueError:
        found = []
    if not found or not all(0 < level < 1 for level in found) or len(set(found)) < len(found):
        raise UserError(f"--quantiles {text}: expected different numbers between 0 and 1, such as 0.1,0.5,0.9.")
    return sorted(found)


def names(text: str | None) -> list[str] | None:
    """``a,b`` as a list; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
