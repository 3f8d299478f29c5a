"""Create the task of a recipe."""

from __future__ import annotations

from potstill.recipe import Recipe
from potstill.tasks.base import Task


def prepare(recipe: Recipe) -> Task:
    """Load and check everything that the recipe's run needs; raises UserError if something is not consistent."""
    if recipe.task == "language":
        from potstill.tasks.language.task import prepare_language

        return prepare_language(recipe)
    if recipe.task == "mixture":
        from potstill.tasks.experts.prepare import prepare_mixture

        return prepare_mixture(recipe)
    from potstill.tasks.prepare_forecasting import prepare_forecasting

    return prepare_forecasting(recipe)
