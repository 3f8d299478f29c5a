"""Parse values of the command line: options that override a recipe, lists, quantile levels."""

from __future__ import annotations

from typing import Any

from potstill.errors import UserError
from potstill.recipe import Recipe, SeriesData, TextData
from potstill.recipe.options import keyed
from potstill.recipe.yaml import YamlProblem, parse_yaml


def recipe_of(path: str | None, settings: list[str] | None, **options: Any) -> Recipe:
    """The recipe file (or the defaults) overridden by options, and by ``--set`` last."""
    overrides = keyed({name: value for name, value in options.items() if value is not None})
    overrides |= dict(setting(text) for text in settings or [])
    # `evaluate` has no option for the task: keys that only texts have select the task
    keys = {key.removeprefix("data.") for key in overrides if key.startswith("data.")}
    of_text = keys <= TextData.model_fields.keys() and not keys <= SeriesData.model_fields.keys()
    if path is None and of_text and len(keys) == len(overrides):
        overrides["task"] = "language"
    return Recipe.read(path, overrides)


def setting(text: str) -> tuple[str, Any]:
    """``DOTTED.KEY=VALUE`` as key and value."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(
            f"--set {text}: expected DOTTED.KEY=VALUE, for example training.clip=0.5.", key="option.not_a_setting"
        )
    try:
        return key, parse_yaml(value)
    except YamlProblem as problem:
        raise UserError(
            f"--set {text}: the value is not valid YAML ({problem.what}); quote it.", key="option.not_yaml"
        ) from None


def levels(text: str) -> list[float]:
    """Quantile levels, ascending."""
    try:
        values = [float(part) for part in names(text) or []]
    except ValueError:
        values = []
    if not values or not all(0 < level < 1 for level in values) or len(set(values)) < len(values):
        raise UserError(
            f"--quantiles {text}: expected different numbers between 0 and 1, such as 0.1,0.5,0.9.",
            key="quantiles.bad_levels",
        )
    return sorted(values)


def names(text: str | None) -> list[str] | None:
    """``a,b`` as a list; None stays None."""
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]
