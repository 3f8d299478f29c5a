"""Short names of options and their keys in a recipe, as Python callers pass them to ``distill`` and ``label``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from potstill.errors import UnknownName, UserError
from potstill.recipe import Recipe

OPTIONS = {
    "task": "task",
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
#: further options of ``mix``, for a router over finished students
MIX_OPTIONS = {"students": "experts", "branch": "branch.source", "by": "branch.by"}
KEYS = OPTIONS | MIX_OPTIONS
LIST_KEYS = ("data.paths", "data.target", "experts")


def resolve(recipe: Recipe | str | Path | None, options: dict[str, Any]) -> Recipe:
    """A recipe (or its file, or the defaults) overridden by options.

    Raises
    ------
    UnknownName
        For an unknown option; the message lists the known ones.
    UserError
        For an invalid value.
    """
    overrides = {}
    for name, value in options.items():
        if name not in KEYS:
            raise UnknownName("option", name, list(KEYS))
        key = KEYS[name]
        value = str(value) if isinstance(value, Path) else value
        overrides[key] = [value] if key in LIST_KEYS and isinstance(value, str) else value
    if isinstance(recipe, Recipe):
        return Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), overrides) if overrides else recipe
    return Recipe.read(recipe, overrides)


def recipe_of_run(run: Path, given: Recipe) -> Recipe:
    """The recipe of a run to resume. Options given with ``--resume`` must equal those of the run.

    So the command that started the run continues it with ``--resume`` added, and no option is silently ignored.

    Raises
    ------
    UserError
        Naming the key that differs.
    """
    path = run / "recipe.yaml"
    own = Recipe.read(path)
    given = given.absolute()
    for key in _set_keys(given):
        requested, recorded = _value(given, key), _value(own, key)
        if requested is not None and requested != recorded:
            raise UserError(
                f"--resume: {path} has {key}: {_plain(recorded)}, {_plain(requested)} was given; leave that option"
                " out, or change it in the file first.",
                key="run.other_recipe",
            )
    return own


def _set_keys(node: BaseModel, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values that were set explicitly."""
    for name in type(node).model_fields:
        if name in node.model_fields_set:
            value = getattr(node, name)
            yield from _set_keys(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [f"{prefix}{name}"]


def _value(node: Any, key: str) -> Any:
    for name in key.split("."):
        node = getattr(node, name, None)  # the run's recipe may be of another kind, without that key
    return [item.model_dump() for item in node] if key in ("teacher", "experts") else node


def _plain(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return ", ".join(str(item["source"] if isinstance(item, dict) else item) for item in value) or "none"
