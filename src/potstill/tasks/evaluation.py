"""What evaluations of any models begin and end with: models by their names, the part that is judged, the files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potstill.console import say
from potstill.errors import UserError
from potstill.families.base import Model
from potstill.families.language.load import is_language
from potstill.recipe import DataConfig, Recipe
from potstill.recipe.notation import parse_named, parse_source
from potstill.reporting import draw_report, summary_lines
from potstill.runs import run_of, write_atomically, write_json
from potstill.tasks.foreign import refuse_foreign
from potstill.tasks.provenance import machine

PARTS = ("validation", "test")


def named_sources(models: list[str], reference: str | None) -> tuple[dict[str, str], str]:
    """Where each model lies, by its name, and the name of the one that the others are held against.

    Parameters
    ----------
    models
        Sources, each optionally as ``NAME=…``.
    reference
        One of their names, one of them as it was given, or a further model; default: the first.
    """
    sources = _named(models)
    if reference is None:
        return sources, next(iter(sources))
    against = next((name for name, source in sources.items() if reference in (name, source)), None)
    if against is None:
        sources = _named([*models, reference])
        against = list(sources)[-1]
    return sources, against


def are_language_models(sources: dict[str, str]) -> bool:
    """Whether the models are language models; raises UserError where some are and others forecast."""
    kinds = {name: is_language(source) for name, source in sources.items()}
    if len(set(kinds.values())) > 1:
        text, series = (next(name for name, kind in kinds.items() if kind is wanted) for wanted in (True, False))
        raise UserError(f"MODEL: {text} is a language model, {series} a forecaster; evaluate them apart.")
    return all(kinds.values())


def judging(task: str, data: DataConfig, options: Mapping[str, Any], sources: dict[str, str]) -> Recipe:
    """The recipe of an evaluation: the data as they are to be cut, and the options that were given.

    ``split`` among them is a part, or says how the data are cut, and the part is ``test``. Where neither it nor
    ``data`` says how, the runs that the models come from do.

    Raises
    ------
    UserError
        A setting of the other task's, one that is no such setting, or runs that cut in different ways.
    """
    if options["split"] in PARTS:
        data = _cut_as_runs_were(data, sources)
    else:
        data, options = data.model_copy(update={"split": options["split"]}), {**options, "split": "test"}
    given = {f"evaluation.{key}": value for key, value in options.items() if value is not None}
    recipe = Recipe.read(None, {"task": task, **given})
    recipe.data = data
    refuse_foreign(recipe)
    return recipe


def write_evaluation(
    folder: Path,
    recipe: Recipe,
    metrics: dict[str, Any],
    models: Mapping[str, Model],
    fingerprint: str,
    shown: Mapping[str, Any],
) -> None:
    """Write what came out into an evaluation's folder, draw its report and say what it came to.

    Parameters
    ----------
    metrics
        The tree of metrics.json without provenance.
    models
        Those that were judged, by name.
    fingerprint
        Of the data.
    shown
        Files that the report shows examples from: trees by name.
    """
    metrics["provenance"] = {
        "models": {name: {"source": m.source.location, "fingerprint": m.fingerprint} for name, m in models.items()},
        "data": {"paths": recipe.data.paths, "fingerprint": fingerprint},
        **machine(),
    }
    write_atomically(folder / "recipe.yaml", recipe.absolute().to_yaml())
    write_json(folder / "metrics.json", metrics)
    for name, tree in shown.items():
        write_json(folder / name, tree)
    path = draw_report(folder)
    say(*summary_lines(metrics), f"Report   {path}")


def _named(models: list[str]) -> dict[str, str]:
    if not models:
        raise UserError("MODEL: none given; name a folder, a hub id or 'embedded'.")
    sources: dict[str, str] = {}
    for text in models:
        name, source = parse_named(text)
        name = name or _name_of(source)
        if name in sources:
            raise UserError(f"MODEL: two models are called {name!r}; name them apart, as in first={source}.")
        sources[name] = source
    return sources


def _name_of(source: str) -> str:
    """The last part of a path; a run's student or control goes by the run's name too, or all would be called alike."""
    parts = source.rstrip("/").split("/")
    return "/".join(parts[-2:]) if parts[-1] in ("student", "control") else parts[-1]


def _cut_as_runs_were(data: DataConfig, sources: dict[str, str]) -> DataConfig:
    """The data with the split of the runs that the models come from, where none was given."""
    if "split" in data.model_fields_set:
        return data
    splits: dict[str, str] = {}
    for name, source in sources.items():
        run = run_of(parse_source(source)[0])
        if run is not None:
            splits.setdefault(Recipe.read(run / "recipe.yaml").data.split, name)
    if len(splits) > 1:
        (one, first), (other, second), *_ = splits.items()
        raise UserError(
            f"MODEL: {first} was trained on the split {one!r}, {second} on {other!r}; say which cuts the data, as in"
            f" --split {one}."
        )
    return data.model_copy(update={"split": next(iter(splits))}) if splits else data
