"""The general student that experts branch from, where the recipe of a mixture names none: how it is distilled first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.errors import UserError
from potstill.recipe import MixtureRecipe, Recipe

_SUFFIXES = (".yaml", ".yml")
_NOT_SHARED = ("distinct_windows",)  # of the data section: the number of windows that experts forecast


def needs_general(recipe: Recipe) -> bool:
    """Whether experts branch from a student that is still to be distilled."""
    branch = recipe.branch if isinstance(recipe, MixtureRecipe) else None
    return branch is not None and (branch.source is None or Path(branch.source).suffix in _SUFFIXES)


def general_recipe(recipe: MixtureRecipe) -> Recipe:
    """The recipe of the general student.

    It is the recipe that ``branch.source`` names, or the default one. Teachers, data, seed and device are those of the
    mixture where it does not set them.

    Raises
    ------
    UserError
        If there is no teacher, or ``branch.source`` is not the recipe of a forecaster.
    """
    assert recipe.branch is not None
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    shared: dict[str, Any] = {"teacher": tree.get("teacher", [])}
    shared["data"] = {key: value for key, value in tree.get("data", {}).items() if key not in _NOT_SHARED}
    shared["training"] = {key: value for key, value in tree.get("training", {}).items() if key in ("seed", "device")}
    own: dict[str, Any] = {}
    if recipe.branch.source is not None:
        given = Recipe.read(recipe.branch.source)
        if given.task != "forecast":
            raise UserError(
                f"branch.source: {recipe.branch.source} is a recipe for {given.models}; name one for a forecaster.",
                key="mixture.general_of_other_task",
            )
        own = given.model_dump(mode="json", exclude_unset=True)
    sections = {key: {**shared[key], **value} for key, value in own.items() if isinstance(shared.get(key), dict)}
    general = Recipe.lay_over({**shared, **own, **sections}, {})
    if not general.teacher:
        raise UserError(
            "teacher: none given, from which a general student could be distilled; add --teacher embedded, or name a"
            " finished student with --branch.",
            key="mixture.no_teacher_of_general",
        )
    return general
