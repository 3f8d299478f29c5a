"""``potstill evaluate``: any models beside one another and the baselines, on the same windows, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.data.windows import SeriesWindows, require_windows
from potstill.errors import UserError
from potstill.evaluation.baselines import make_baseline
from potstill.evaluation.benchmark import evaluate_models, progress_bar
from potstill.evaluation.cost import measure_costs
from potstill.evaluation.report import draw_report, summary_lines
from potstill.families.load import load
from potstill.notation import parse_named, parse_source
from potstill.recipe import DataConfig, EvaluationConfig, Recipe
from potstill.runs import open_run, run_of, write_atomically, write_json
from potstill.verbs.given import store_of
from potstill.verbs.lengths import fit_lengths
from potstill.verbs.provenance import machine
from potstill.verbs.say import say
from potstill.verbs.setup import available

PARTS = ("validation", "test")


def evaluate(
    models: list[str],
    data: Any,
    output: str | Path,
    *,
    split: str = "test",
    stride: int | None = None,
    reference: str | None = None,
    baselines: list[str] | None = None,
    device: str | None = None,
) -> Path:
    """Measure models on a part of the data.

    Parameters
    ----------
    models
        Folders, hub ids or ``embedded``, each optionally as ``NAME=…``.
    data
        What to judge on: paths, a pandas frame, or a DataConfig; lengths that are not given follow the models.
    output
        Folder for metrics.json, forecasts.json and report.html; must be new.
    split
        The part: ``validation`` or ``test``. Any other name says how the series are cut (``8:1:1``, ``suite``, …), and
        the part is ``test``. Where neither this nor ``data`` says how, a run among the models does: cut otherwise, the
        part may hold what that run was trained on.
    stride
        Steps between origins; default 5, wider where windows are many.
    reference
        The model that retention is relative to, by name or as a further MODEL (default: the first).
    baselines
        Names of baselines; default: those of a run.
    device
        ``cpu`` or ``cuda``, for the models; default: cuda where there is one.

    Raises
    ------
    UserError
        One sentence on what does not fit.
    """
    sources = _named(models)
    against = reference or next(iter(sources))
    if against not in sources:
        sources = _named([*models, against])
        against = list(sources)[-1]
    where = available(device)
    loaded = {name: load(source, device=where).freeze() for name, source in sources.items()}
    store, data = store_of(data)
    if split not in PARTS:
        data, split = data.model_copy(update={"split": split}), "test"
    data = fit_lengths(_cut_as_runs_were(data, sources), list(loaded.values()))
    options = {"split": split, "stride": stride, **({"baselines": baselines} if baselines is not None else {})}
    config = Recipe.read(None, {f"evaluation.{key}": value for key, value in options.items()}).evaluation
    for baseline in config.baselines:
        make_baseline(baseline)  # a misspelt one must leave no folder behind
    windows = SeriesWindows(store, data, config.split, stride=1)
    require_windows(windows)
    folder = open_run(output, resume=False)
    with progress_bar("Evaluating") as progress:
        train = SeriesWindows(store, data, "train")
        found = evaluate_models(loaded, windows, train, config.baselines, config, against, progress)
    metrics = found.to_dict()
    metrics["account"] = {**metrics["account"], "data": windows.account.to_dict()}
    metrics["cost"] = measure_costs(loaded, data.context_length, data.prediction_length, reference=against)
    metrics["provenance"] = {
        "models": {name: {"source": m.source.location, "fingerprint": m.fingerprint} for name, m in loaded.items()},
        "data": {"paths": data.paths, "fingerprint": store.fingerprint},
        **machine(),
    }
    write_atomically(folder / "recipe.yaml", _recipe(data, config).to_yaml())
    write_json(folder / "metrics.json", metrics)
    write_json(folder / "forecasts.json", found.examples)
    path = draw_report(folder)
    say(*summary_lines(metrics), f"Report   {path}")
    return folder


def _named(models: list[str]) -> dict[str, str]:
    """Where each model lies, by its name."""
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


def _recipe(data: DataConfig, config: EvaluationConfig) -> Recipe:
    return Recipe(data=data, evaluation=config).absolute()
