"""Short names of options and their keys in a recipe, as Python callers pass them to ``distill`` and ``label``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel

from potstill.errors import UnknownName, UserError
from potstill.recipe import GrowConfig, Recipe
from potstill.runs import RECIPE_FILE

OPTIONS = {
    "task": "task",
    "teacher": "teacher",
    "student": "student",
    "data": "data.paths",
    "target": "data.target",
    "known": "data.known",
    "past": "data.past",
    "groups": "data.groups",
    "time_column": "data.time_column",
    "date_format": "data.date_format",
    "freq": "data.freq",
    "id_column": "data.id_column",
    "decimal": "data.decimal",
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


class DistillOptions(TypedDict, total=False):
    """The types of ``OPTIONS``, for callers; the recipe's fields document and check them."""

    task: str
    teacher: str | Path | list[str] | dict[str, Any]
    student: str | dict[str, Any]
    data: Any  # paths, or data in memory
    target: str | list[str]
    known: str | list[str]
    past: str | list[str]
    groups: str
    time_column: str
    date_format: str
    freq: str
    id_column: str | list[str]
    decimal: str
    split: str
    max_files: int
    context_length: int
    prediction_length: int
    stride: int
    alpha: float
    max_steps: int
    epochs: float
    batch_size: int
    learning_rate: float
    device: str
    seed: int
    labels: str | Path
    control: bool | str


#: further options of ``mix``, for a student that grows
GROW_OPTIONS = {
    "grow": "student.grow.source",
    **{name: f"student.grow.{name}" for name in GrowConfig.model_fields if name != "source"},
}
#: further options of ``mix``, for a router over finished students
MIX_OPTIONS = {"students": "experts", "branch": "branch.source", "by": "branch.by"}
KEYS = OPTIONS | GROW_OPTIONS | MIX_OPTIONS
LIST_KEYS = ("data.paths", "data.target", "data.known", "data.past", "data.id_column", "experts")


def task_of_mix(recipe: Recipe | str | Path | None, options: Mapping[str, Any]) -> str:
    """The task of ``mix``: ``forecast`` if a student grows, by an option, the recipe or the run to resume, else
    ``mixture``."""
    if options.get("students") or options.get("branch") or options.get("by"):
        return "mixture"
    if any(options.get(name) is not None for name in GROW_OPTIONS):
        return "forecast"
    run = Path(options.get("output") or "") / RECIPE_FILE
    if recipe is None and options.get("resume") and run.exists():
        recipe = run
    given = Recipe.read(recipe) if isinstance(recipe, (str, Path)) else recipe
    return "mixture" if given is None or getattr(given.student, "grow", None) is None else "forecast"


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
    for key, value in keyed(options).items():
        value = str(value) if isinstance(value, Path) else value
        overrides[key] = [value] if key in LIST_KEYS and isinstance(value, str) else value
    if isinstance(recipe, Recipe):
        return Recipe.lay_over(recipe.model_dump(mode="json", exclude_unset=True), overrides) if overrides else recipe
    return Recipe.read(recipe, overrides)


def keyed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their key in a recipe; ``top_k`` is the router's if finished students are mixed.

    Raises
    ------
    UnknownName
        For an unknown option; the message lists the known ones.
    """
    for name in options:
        if name not in KEYS:
            raise UnknownName("option", name, list(KEYS))
    own = {"top_k": "router.top_k"} if options.get("task") == "mixture" else {}
    return {own.get(name, KEYS[name]): value for name, value in options.items()}


def recipe_of_run(run: Path, given: Recipe) -> Recipe:
    """The recipe of a run to resume. Options given with ``--resume`` must equal those of the run.

    So the command that started the run continues it with ``--resume`` added, and no option is silently ignored.

    Raises
    ------
    UserError
        Naming the key that differs.
    """
    path = run / RECIPE_FILE
    own = Recipe.read(path)
    given = _with_learned_weights(given.absolute(), own)
    for key in _set_keys(given):
        requested, recorded = _value(given, key), _value(own, key)
        if requested is not None and requested != recorded:
            raise UserError(
                f"--resume: {path} has {key}: {_plain(recorded)}, {_plain(requested)} was given; leave that option"
                " out, or change it in the file first.",
                key="run.other_recipe",
            )
    return own


def _with_learned_weights(given: Any, own: Any) -> Any:
    """The given recipe with the run's weights in place of ``ensemble: validation``, as the run has written them."""
    if getattr(given, "ensemble", None) != "validation" or getattr(own, "ensemble", None) != "fixed":
        return given
    if [teacher.source for teacher in given.teacher] != [teacher.source for teacher in own.teacher]:
        return given
    if not all(isinstance(teacher.weight, dict) for teacher in own.teacher):  # not learned
        return given
    given = given.model_copy(deep=True)
    given.ensemble = own.ensemble
    for teacher, recorded in zip(given.teacher, own.teacher, strict=True):
        teacher.weight = recorded.weight
    return given


def _set_keys(node: BaseModel, prefix: str = "") -> Iterator[str]:
    """The dotted keys of all values that were set explicitly."""
    for name in type(node).model_fields:
        if name in node.model_fields_set:
            value = getattr(node, name)
            yield from _set_keys(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [f"{prefix}{name}"]


def _value(node: Any, key: str) -> Any:
    for name in key.split("."):
        node = getattr(node, name, None)  # the run's recipe may be of another kind, without that key
    return [item.model_dump(exclude_defaults=True) for item in node] if key in ("teacher", "experts") else node


def _plain(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return (
        ", ".join(str(item["source"] if isinstance(item, dict) and len(item) == 1 else item) for item in value)
        or "none"
    )
