"""``potstill evaluate``: compare models on the same windows or texts, forecasters also with baselines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from potstill.console import progress_bar, say
from potstill.data.series.from_argument import store_of
from potstill.data.series.windows import SeriesWindows, require_windows
from potstill.errors import UnknownName, UserError
from potstill.evaluation.baselines import make_baseline
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.calibrated import calibrated_rows
from potstill.evaluation.cost import measure_costs
from potstill.families.base import Forecaster, Model
from potstill.families.devices import available_device
from potstill.families.known_regression import KnownRegression
from potstill.recipe import DataConfig
from potstill.runs import check_run, open_run
from potstill.tasks.base import forecaster_of
from potstill.tasks.evaluation import are_language_models, evaluation_recipe, named_sources, write_evaluation
from potstill.tasks.lengths import fit_lengths

REGRESSED = "+regression"  # end of the name of a model with a regression on known covariates


def evaluate(
    models: Sequence[str | Path | Forecaster],
    data: Any,
    output: str | Path,
    *,
    split: str = "test",
    stride: int | None = None,
    max_windows: int | None = None,
    reference: str | Forecaster | None = None,
    baselines: list[str] | None = None,
    calibrate: int | None = None,
    fev: str | Path | None = None,
    device: str | None = None,
) -> Path:
    """Evaluate forecasters, or language models with the same tokenizer, on a part of the data.

    With covariates that are known ahead, each model is also evaluated with a regression on them (``NAME+regression``),
    as ``potstill forecast --known-method regression`` forecasts.

    Parameters
    ----------
    models
        Folders, hub ids, ``embedded`` or GGUF files, each optionally as ``NAME=…``; or loaded forecasters, whose
        name is that of their source.
    data
        Data to evaluate on: paths, a data section (SeriesData or TextData) or, for series, a pandas data frame; default
        lengths are limited to those of the models. None with ``fev``.
    output
        Folder for metrics.json, forecasts.json (for language models generations.json) and report.html, with ``fev`` for
        fev.csv; must be new.
    split
        The part: ``validation`` or ``test``. Any other value defines the split of the series (``8:1:1``, ``suite``, …),
        and the part is ``test``. If neither this nor ``data`` defines the split, that of a run among the models is
        used: with another split, the part may contain data that this run was trained on.
    stride
        Steps between forecast origins; default 5, larger for large data, 1 for few windows. Series only.
    max_windows
        Maximum number of windows per data set (default 2,000), or of text examples (default 500).
    reference
        The model that the others are compared with, by name or as another MODEL (default: the first).
    baselines
        Names of baselines; default: as in a run. Series only. With ``fev`` only ``seasonal_naive``, the default.
    calibrate
        Horizons before each window to whose errors the intervals are fitted, as ``potstill forecast --calibrate`` does:
        each model is also evaluated with these intervals (``NAME+calibrated``); 0: none is. Default: those models of
        which ``potstill forecast`` fits the intervals by default, which are students. Series only.
    fev
        Tasks of fev on which forecasters are evaluated instead: a YAML file or its address, see
        ``adapters.fev_tasks.evaluate_tasks``.
    device
        Where the models compute, such as ``cpu`` or ``cuda:1``; default: a GPU if there is one.

    Raises
    ------
    UserError
        If models, data or options are invalid.
    """
    if fev is not None:
        others = {"stride": stride, "max_windows": max_windows, "reference": reference, "calibrate": calibrate}
        _check_fev(data, split=split != "test", **others)
        from potstill.adapters.fev_tasks import SEASONAL_NAIVE, evaluate_tasks

        for name in baselines or []:
            if name != SEASONAL_NAIVE:
                raise UnknownName("baseline", name, [SEASONAL_NAIVE])
        check_run(output, resume=False)
        sources, _ = named_sources(models, None)
        return evaluate_tasks(sources, fev, output, baseline=baselines != [], device=device)
    sources, against = named_sources(models, reference)
    places = {name: source for name, source in sources.items() if not isinstance(source, Model)}
    check_run(output, resume=False)
    resolved = available_device(device)
    options = {
        "split": split,
        "stride": stride,
        "max_windows": max_windows,
        "baselines": baselines,
        "calibrate": calibrate,
    }
    if are_language_models(sources) and len(places) == len(sources):  # loaded ones are refused below
        from potstill.tasks.language.evaluate import evaluate_texts

        return evaluate_texts(places, against, data, output, options=options, device=resolved)
    loaded = {name: forecaster_of(source, device) for name, source in sources.items()}
    for name in places:
        loaded[name].freeze()
    store, data = store_of(data)
    locations = {name: model.source.location for name, model in loaded.items()}
    recipe = evaluation_recipe("forecast", data, options, locations)
    recipe.data = fit_lengths(recipe.data, store, list(loaded.values()))
    data, config = recipe.data, recipe.evaluation
    for baseline in config.baselines:
        make_baseline(baseline)  # report an unknown baseline before the folder is created
    windows = SeriesWindows(store, data, config.split, stride=1)
    require_windows(windows)
    say(*windows.report.lines())
    folder = open_run(output, resume=False)
    regressed = _regressed(loaded, store.season) if data.known else {}
    variants = {**regressed, **calibrated_rows({**loaded, **regressed}, store, config.calibrate)}
    with progress_bar("Evaluating") as progress:
        train = SeriesWindows(store, data, "train")
        result = evaluate_models(loaded, windows, train, config.baselines, config, against, progress, variants)
    metrics = result.to_dict()
    for name in regressed:
        model = name.removesuffix(REGRESSED)
        by_model, by_regression = (metrics["overall"][one]["sql_rel_naive"] for one in (model, name))
        say(f"{', '.join(data.known)}: SQL relative to seasonal naive {by_model:.3g} used by {model},"
            f" {by_regression:.3g} used by a regression for each series")  # fmt: skip
    metrics["account"] = {**metrics["account"], "data": windows.report.to_dict()}
    say("Measuring costs")
    costs = measure_costs(loaded, data.context_length, data.prediction_length, reference=against)
    metrics["cost"] = costs | result.baseline_costs
    write_evaluation(folder, recipe, metrics, loaded, store.fingerprint, {"forecasts.json": result.examples})
    return folder


def _regressed(models: dict[str, Forecaster], season: np.ndarray) -> dict[str, KnownRegression]:
    """Each model with a regression on the known covariates; ``season`` is that of the store."""
    return {name + REGRESSED: KnownRegression(model, season) for name, model in models.items()}


def _check_fev(data: Any, **options: Any) -> None:
    """Raise UserError for data and options that the tasks of fev define themselves."""
    given = sorted(data.model_fields_set) if isinstance(data, DataConfig) else ["data"] if data is not None else []
    given += [name for name, value in options.items() if value]
    if given:
        option = {"paths": "data"}.get(given[0], given[0]).replace("_", "-")
        raise UserError(
            f"--{option}: the tasks of --fev define the data and what is compared; leave --{option} out.",
            key="fev.other_option",
        )
