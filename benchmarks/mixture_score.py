"""Scores of the models of the mixture benchmark, and their comparison over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mixture_cases import Case

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation import bootstrap
from potstill.evaluation.benchmark import evaluate_models
from potstill.evaluation.cost import measure_costs
from potstill.evaluation.outcome import SEASONAL_NAIVE
from potstill.recipe import ForecastEvaluation, SeriesData

BEST, ORACLE, AVERAGE = "best expert", "oracle", "average expert"


@dataclass
class Scores:
    """One seed: SQL per window by data set and model, where the windows are, and what each model costs."""

    sql: dict[str, dict[str, np.ndarray]]
    places: dict[str, tuple[np.ndarray, np.ndarray]]
    cost: dict[str, Any]
    parameters: dict[str, int]


def score(models: dict[str, Any], case: Case, paths: list[str], best: str, quick: bool) -> Scores:
    """SQL of all models on the test windows of files; adds the best expert, the average one and the oracle."""
    section = SeriesData(paths=paths, **case.data)
    store = open_store(section)
    config = ForecastEvaluation(max_windows=20 if quick else 400, baselines=[])
    windows = SeriesWindows(store, section, "test", stride=1)
    found = evaluate_models(models, windows, SeriesWindows(store, section, "train"), [], config)
    sql, places = {}, {}
    for name, one in found.windows.items():
        experts = np.stack([values for model, values in one["sql"].items() if model.startswith("expert ")])
        added = {BEST: one["sql"][best], ORACLE: experts.min(axis=0), AVERAGE: experts.mean(axis=0)}
        sql[name] = {**one["sql"], **added}
        places[name] = (np.asarray(one["series"]), np.asarray(one["origin"]) // section.prediction_length)
    timed = {name: model for name, model in models.items() if not name.startswith("expert ") and name != "FFORMA"}
    cost = measure_costs(timed, section.context_length, section.prediction_length, reference="teacher")
    parameters = {name: getattr(getattr(model, "info", None), "active_parameters", 0) for name, model in models.items()}
    return Scores(sql, places, cost, parameters)


def conclude(found: list[Scores], case: Case) -> dict[str, Any]:
    """SQL relative to seasonal naive of every model, and the mixture's ratio to each with its interval."""
    figures: dict[str, Any] = {}
    for group, names in {"seen": case.seen, "unseen": case.unseen, "all": case.seen + case.unseen}.items():
        models = [m for m in found[0].sql[names[0]] if all(m in one.sql[name] for one in found for name in names)]
        figures[group] = {
            model: {
                "sql_rel_naive": relative_to_naive(found, names, model),
                "mixture_over_it": ratio_of(found, names, "mixture", model),
            }
            for model in models
        }
    figures["cost"] = [one.cost for one in found]
    figures["active_parameters"] = found[0].parameters
    return figures


def relative_to_naive(found: list[Scores], names: Sequence[str], model: str) -> list[float]:
    """By seed, the geometric mean over data sets of the mean SQL, relative to seasonal naive."""
    logs = [[np.log(one.sql[n][model].mean() / one.sql[n][SEASONAL_NAIVE].mean()) for n in names] for one in found]
    return np.exp(np.mean(logs, axis=1)).tolist()


def ratio_of(found: list[Scores], names: Sequence[str], first: str, second: str) -> dict[str, float]:
    """Ratio of two models' mean SQL over seeds: geometric mean over data sets, bootstrap over windows by series."""
    values, draws = [], []
    for index, name in enumerate(names):
        above, below = (np.mean([one.sql[name][model] for one in found], axis=0) for model in (first, second))
        weights = bootstrap.draw_weights(*found[0].places[name], seed=index)
        interval, drawn = bootstrap.mean_ratio(above, below, weights)
        values.append(interval.value)
        draws.append(drawn)
    return bootstrap.geometric_mean_ratio(values, draws).to_dict()
