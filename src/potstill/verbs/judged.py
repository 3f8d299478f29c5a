"""What is judged, as callers name it: models by their names, and the part of the data as the models' runs cut it."""

from __future__ import annotations

from potstill.errors import UserError
from potstill.notation import parse_named, parse_source
from potstill.recipe import DataConfig, Recipe
from potstill.runs import run_of

PARTS = ("validation", "test")


def named_sources(models: list[str], reference: str | None) -> tuple[dict[str, str], str]:
    """Where each model lies, by its name, and the name of the one that the others are held against.

    Parameters
    ----------
    models
        Sources, each optionally as ``NAME=…``.
    reference
        One of their names, or a further model; default: the first.
    """
    sources = _named(models)
    against = reference or next(iter(sources))
    if against not in sources:
        sources = _named([*models, against])
        against = list(sources)[-1]
    return sources, against


def part_to_judge(data: DataConfig, split: str, sources: dict[str, str]) -> tuple[DataConfig, str]:
    """The data as it is to be cut, and the part that counts.

    ``split`` is a part, or says how the data are cut, and the part is ``test``. Where neither it nor ``data`` says how,
    the runs that the models come from do.
    """
    if split not in PARTS:
        return data.model_copy(update={"split": split}), "test"
    return _cut_as_runs_were(data, sources), split


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
