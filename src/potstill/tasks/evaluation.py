"""Common parts of evaluations: models by name, the evaluated part of the data, the output files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from potstill.console import say
from potstill.errors import UserError
from potstill.families.base import Forecaster, Model
from potstill.families.load import is_language
from potstill.recipe import DataConfig, ForecastRecipe, LanguageRecipe, Recipe
from potstill.recipe.notation import parse_named, parse_source
from potstill.reporting import draw_report, summary_lines
from potstill.runs import METRICS_FILE, RECIPE_FILE, run_of, write_atomically, write_json
from potstill.tasks.provenance import machine

EVALUATION_PARTS = ("validation", "test")


def named_sources(
    models: Sequence[str | Path | Model], reference: str | Model | None
) -> tuple[dict[str, str | Model], str]:
    """The source of each model by name, and the name of the reference model that the others are compared with.

    Parameters
    ----------
    models
        Sources, optionally as ``NAME=…``, or loaded models.
    reference
        One of their names, one of their sources, or another model; default: the first.
    """
    sources = _named(models)
    if reference is None:
        return sources, next(iter(sources))
    against = next((name for name, source in sources.items() if reference in (name, source)), None)
    if against is None:
        sources = _named([*models, reference])
        against = list(sources)[-1]
    return sources, against


def are_language_models(sources: Mapping[str, str | Model]) -> bool:
    """Whether the models are language models; raises UserError if some are forecasters."""
    kinds = {
        name: not isinstance(source, Forecaster) if isinstance(source, Model) else is_language(source)
        for name, source in sources.items()
    }
    if len(set(kinds.values())) > 1:
        text, series = (next(name for name, kind in kinds.items() if kind is wanted) for wanted in (True, False))
        raise UserError(
            f"MODEL: {text} is a language model, {series} a forecaster; evaluate them separately.",
            key="models.two_kinds",
        )
    return all(kinds.values())


@overload
def evaluation_recipe(
    task: Literal["forecast"], data: DataConfig, options: Mapping[str, Any], sources: dict[str, str]
) -> ForecastRecipe: ...


@overload
def evaluation_recipe(
    task: Literal["language"], data: DataConfig, options: Mapping[str, Any], sources: dict[str, str]
) -> LanguageRecipe: ...


def evaluation_recipe(task: str, data: DataConfig, options: Mapping[str, Any], sources: dict[str, str]) -> Recipe:
    """The recipe of an evaluation, from the data and the options.

    The option ``split`` is either a part of the data (``validation`` or ``test``), or it defines the split, and the
    part is ``test``. If neither it nor ``data`` defines the split, the split of the models' own runs is used.

    Raises
    ------
    UserError
        For a setting of the other task, an unknown setting, or runs with different splits.
    """
    if options["split"] in EVALUATION_PARTS:
        data = _with_split_of_runs(data, sources)
    else:
        data, options = data.model_copy(update={"split": options["split"]}), {**options, "split": "test"}
    given = {f"evaluation.{key}": value for key, value in options.items() if value is not None}
    return Recipe.lay_over({"task": task, "data": data.model_dump(exclude_unset=True)}, given)


def write_evaluation(
    folder: Path,
    recipe: Recipe,
    metrics: dict[str, Any],
    models: Mapping[str, Model],
    fingerprint: str,
    shown: Mapping[str, Any],
) -> None:
    """Write the results of an evaluation and its report into a folder, and print a summary.

    Parameters
    ----------
    metrics
        The tree of metrics.json without provenance.
    models
        The evaluated models by name.
    fingerprint
        Fingerprint of the data.
    shown
        Files with examples for the report: their content by file name.
    """
    metrics["provenance"] = {
        "models": {name: {"source": m.source.location, "fingerprint": m.fingerprint} for name, m in models.items()},
        "data": {"paths": recipe.data.paths, "fingerprint": fingerprint},
        **machine(),
    }
    write_atomically(folder / RECIPE_FILE, recipe.absolute().to_yaml())
    write_json(folder / METRICS_FILE, metrics)
    for name, tree in shown.items():
        write_json(folder / name, tree)
    path = draw_report(folder)
    say(*summary_lines(metrics), f"Report   {path}")


def _named(models: Sequence[str | Path | Model]) -> dict[str, str | Model]:
    if not models:
        raise UserError("MODEL: no model given; name a folder, a hub id or 'embedded'.", key="models.none")
    sources: dict[str, str | Model] = {}
    for model in models:
        name, source = (None, model) if isinstance(model, Model) else parse_named(str(model))
        name = name or _name_of(source.source.name if isinstance(source, Model) else source)
        if name in sources:
            shown = source.source.location if isinstance(source, Model) else source
            raise UserError(
                f"MODEL: two models have the name {name!r}; give them different names, as in first={shown}.",
                key="models.same_name",
            )
        sources[name] = source
    return sources


def _name_of(source: str) -> str:
    """The last part of a path; for a run's student or control with the run's name, so that names differ."""
    parts = source.rstrip("/").split("/")
    return "/".join(parts[-2:]) if parts[-1] in ("student", "control", "control_start") else parts[-1]


def _with_split_of_runs(data: DataConfig, sources: dict[str, str]) -> DataConfig:
    """The data with the split of the models' own runs, unless a split is given."""
    if "split" in data.model_fields_set:
        return data
    splits: dict[str, str] = {}
    for name, source in sources.items():
        run = run_of(parse_source(source)[0])
        if run is not None:
            splits.setdefault(Recipe.read(run / RECIPE_FILE).data.split, name)
    if len(splits) > 1:
        (one, first), (other, second), *_ = splits.items()
        raise UserError(
            f"MODEL: {first} was trained on the split {one!r}, {second} on {other!r}; choose one, as in --split {one}.",
            key="models.different_splits",
        )
    return data.model_copy(update={"split": next(iter(splits))}) if splits else data
