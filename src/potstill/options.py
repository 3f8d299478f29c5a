"""Short names of options and where each lies in a recipe: what Python callers pass to ``distill`` and ``label``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.errors import UnknownName
from potstill.recipe import Recipe

OPTIONS = {
    "teacher": "teacher",
    "student": "student",
    "data": "data.paths",
    "target": "data.target",
    "split": "data.split",
    "max_files": "data.max_files",
    "context_length": "data.context_length",
    "prediction_length": "data.prediction_length",
    "stride": "data.stride",
    "alpha": "objective.alpha",
    "max_steps": "training.max_steps",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "learning_rate": "training.learning_rate",
    "device": "training.device",
    "seed": "training.seed",
    "labels": "labels",
    "control": "control",
}
LISTS = ("data.paths", "data.target")


def resolve(recipe: Recipe | str | Path | None, options: dict[str, Any]) -> Recipe:
    """A recipe (or its file, or the defaults) with options laid over it.

    Raises
    ------
    UnknownName
        For an option that is none; the message lists them.
    UserError
        For a value that does not fit.
    """
    overrides = {}
    for name, value in options.items():
        if name not in OPTIONS:
            raise UnknownName("option", name, list(OPTIONS))
        key = OPTIONS[name]
        value = str(value) if isinstance(value, Path) else value
        overrides[key] = [value] if key in LISTS and isinstance(value, str) else value
    if isinstance(recipe, Recipe):
        return Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), overrides) if overrides else recipe
    return Recipe.read(recipe, overrides)
