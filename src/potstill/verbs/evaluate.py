"""``potstill evaluate``: any models beside one another, forecasters beside the baselines too, on the same windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.console import say
from potstill.data.series.given import store_of
from potstill.data.series.windows import SeriesWindows, require_windows
from potstill.evaluation.baselines import make_baseline
from potstill.evaluation.benchmark import evaluate_models, progress_bar
from potstill.evaluation.cost import measure_costs
from potstill.families.load import load
from potstill.runs import check_run, open_run
from potstill.tasks.evaluation import are_language_models, judging, named_sources, write_evaluation
from potstill.tasks.forecasting import available
from potstill.tasks.lengths import fit_lengths


def evaluate(
    models: list[str],
    data: Any,
    output: str | Path,
    *,
    split: str = "test",
    stride: int | None = None,
    max_windows: int | None = None,
    reference: str | None = None,
    baselines: list[str] | None = None,
    device: str | None = None,
) -> Path:
    """Measure models on a part of the data: all of them forecasters, or all of them language models of one tokenizer.

    Parameters
    ----------
    models
        Folders, hub ids, ``embedded`` or GGUF files, each optionally as ``NAME=…``.
    data
        What to judge on: paths, a DataConfig or, of series, a pandas frame; lengths that are not given follow the
        models.
    output
        Folder for metrics.json, forecasts.json (of language models: generations.json) and report.html; must be new.
    split
        The part: ``validation`` or ``test``. Any other name says how the series are cut (``8:1:1``, ``suite``, …), and
        the part is ``test``. Where neither this nor ``data`` says how, a run among the models does: cut otherwise, the
        part may hold what that run was trained on.
    stride
        Steps between origins; default 5, wider where windows are many. Series only.
    max_windows
        Most windows per data set, of text most examples; default 2,000 and 500.
    reference
        The model that retention is relative to, by name or as a further MODEL (default: the first).
    baselines
        Names of baselines; default: those of a run. Series only.
    device
        ``cpu`` or ``cuda``, for the models; default: cuda where there is one.

    Raises
    ------
    UserError
        One sentence on what does not fit.
    """
    sources, against = named_sources(models, reference)
    check_run(output, resume=False)
    where = available(device)
    options = {"split": split, "stride": stride, "max_windows": max_windows, "baselines": baselines}
    if are_language_models(sources):
        from potstill.tasks.language.evaluate import evaluate_texts

        return evaluate_texts(sources, against, data, output, options=options, device=where)
    loaded = {name: load(source, device=where).freeze() for name, source in sources.items()}
    store, data = store_of(data)
    recipe = judging("forecast", data, options, sources)
    recipe.data = fit_lengths(recipe.data, list(loaded.values()))
    data, config = recipe.data, recipe.evaluation
    for baseline in config.baselines:
        make_baseline(baseline)  # a misspelt one must leave no folder behind
    windows = SeriesWindows(store, data, config.split, stride=1)
    require_windows(windows)
    folder = open_run(output, resume=False)
    with progress_bar("Evaluating") as progress:
        train = SeriesWindows(store, data, "train")
        found = evaluate_models(loaded, windows, train, config.baselines, config, against, progress)
    metrics = found.to_dict()
    metrics["account"] = {**metrics["account"], "data": windows.report.to_dict()}
    say("Measuring costs")
    metrics["cost"] = measure_costs(loaded, data.context_length, data.prediction_length, reference=against)
    write_evaluation(folder, recipe, metrics, loaded, store.fingerprint, {"forecasts.json": found.examples})
    return folder
