"""Evaluate many models on the last fifth of each file of the suite with Potstill's own evaluation, on the same windows.

Per column the latest 48 origins, a horizon apart, in the last 20 % of the file; at most 600 windows per data set.
Contexts have 512 steps, quantiles are the nine from 0.1 to 0.9, seasonal naive reads the whole history, and ridge is
fitted on the training part of the split ``suite``. Columns that hold calendar flags or mostly zeros are left out.
Intervals come from a bootstrap that draws series first (``potstill.evaluation.bootstrap``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from potstill.data.series.opening import open_store
from potstill.data.series.windows import SeriesWindows
from potstill.evaluation.baselines import Ridge
from potstill.evaluation.benchmark import Predictor, evaluate_models
from potstill.evaluation.bootstrap import Interval, draw_weights, geometric_mean_ratio, mean_ratio
from potstill.evaluation.metrics import skill_retention
from potstill.evaluation.outcome import SEASONAL_NAIVE
from potstill.recipe import ForecastEvaluation, SeriesData

CONTEXT, HORIZON = 512, 96
RIDGE = "ridge"
LAST_FIFTH = "7:1:2"  # of every file, ETTh1 too, whose training part under the split 'suite' ends long before
PER_SERIES, PER_SET = 48, 600
# data set: its horizon, and the columns to leave out (by a part of their name)
SETS: dict[str, tuple[int, tuple[str, ...]]] = {
    "ETTh1": (HORIZON, ()),
    "tetuan_power": (HORIZON, ()),
    "metro_traffic_regular": (HORIZON, ("snow", "rain")),
    "bike_sharing": (HORIZON, ("season", "holiday", "workingday", "weathersit")),
    "beijing_pm25": (HORIZON, ("Is", "Ir")),
    "fred_md": (12, ()),
    "saugeen_river": (HORIZON, ()),
    "cloud_cpu": (HORIZON, ()),
}


class LatestWindows(SeriesWindows):
    """Test windows whose origins are a horizon apart: the latest of each series, at most ``most`` per data set."""

    most = PER_SET

    def of_dataset(self, name: str) -> np.ndarray:
        """Ids of the windows that are evaluated, ascending."""
        ids = super().of_dataset(name)
        series, _ = self.locate(ids)
        latest = [ids[series == one][:: -self.prediction_length][:PER_SERIES] for one in np.unique(series)]
        ids = np.concatenate([*latest, ids[:0]])
        if len(ids) > self.most:
            ids = ids[np.linspace(0, len(ids) - 1, self.most).astype(np.int64)]
        return np.sort(ids)


@dataclass
class Judged:
    """One data set's windows ``[N]`` and each model's scaled quantile loss on them."""

    name: str
    series: np.ndarray
    origin: np.ndarray
    horizon: int
    sql: dict[str, np.ndarray]
    coverage: dict[str, float]


def judge_set(name: str, folder: Path, models: Mapping[str, Predictor], most: int = PER_SET) -> Judged:
    """Scores of all models, seasonal naive and ridge on at most ``most`` windows of a data set."""
    data, horizon = data_of(name, folder), SETS[name][0]
    store = open_store(data)
    test = LatestWindows(store, data.model_copy(update={"split": LAST_FIFTH}), "test", stride=1)
    test.most = most
    config = ForecastEvaluation(stride=1, max_windows=most)  # the windows are selected already
    found = evaluate_models(models, test, SeriesWindows(store, data, "train"), [RIDGE], config)
    windows = found.windows[name]
    coverage = {model: sets[name]["coverage_80"] for model, sets in found.metrics.items()}
    return Judged(name, windows["series"], windows["origin"], horizon, windows["sql"], coverage)


def data_of(name: str, folder: Path) -> SeriesData:
    """A data set of the suite as it is evaluated; its split is the one that the students train on."""
    horizon, dropped = SETS[name]
    path = folder / f"{name}.csv"
    with path.open(encoding="utf-8") as file:
        columns = file.readline().strip().split(",")[1:]
    target = [column for column in columns if not any(part in column for part in dropped)]
    return SeriesData(
        paths=[str(path)], target=target, split="suite", context_length=CONTEXT, prediction_length=horizon
    )


def ridge_of(name: str, folder: Path) -> Any:
    """The ridge forecaster of one data set, to be timed together with the models."""
    data = data_of(name, folder)
    ridge = Ridge()
    reason = ridge.fit(SeriesWindows(open_store(data), data, "train"), name)
    if ridge.forecaster is None:
        raise RuntimeError(f"ridge on {name}: {reason}")
    return ridge.forecaster


class Scores:
    """Ratios of models' errors over all data sets, with intervals.

    Every ratio uses the same bootstrap samples, so that windows that are hard for all models cancel out.
    """

    def __init__(self, judged: list[Judged]):
        self.judged = judged
        self._weights = [draw_weights(j.series, j.origin // j.horizon, seed=i) for i, j in enumerate(judged)]

    def of(self, model: str) -> dict[str, Any]:
        """SQL relative to seasonal naive by data set and as geometric mean, and the coverage of the 80 % band."""
        whole, sets, _ = self._against(model, SEASONAL_NAIVE)
        coverage = float(np.mean([one.coverage[model] for one in self.judged]))
        by_set = {name: interval.to_dict() for name, interval in sets.items()}
        return {"sql_rel_naive": whole.to_dict(), "datasets": by_set, "coverage_80": coverage}

    def ratio(self, first: str, second: str) -> dict[str, Any]:
        """SQL of ``first`` over SQL of ``second`` (below one: first is better); on how many sets it is below one."""
        whole, sets, _ = self._against(first, second)
        return {**whole.to_dict(), "lower_on": sum(s.value < 1 for s in sets.values()), "of": len(sets)}

    def retention(self, model: str, teacher: str) -> dict[str, Any]:
        """``sql``: teacher's over the model's. ``skill``: the model's distance below seasonal naive over teacher's.

        Skill is None for a teacher without skill; bootstrap samples in which the teacher has none are left out.
        """
        kept, _, _ = self._against(teacher, model)
        own, _, own_drawn = self._against(model, SEASONAL_NAIVE)
        taught, _, taught_drawn = self._against(teacher, SEASONAL_NAIVE)
        if taught.value >= 1:
            return {"sql": kept.to_dict(), "skill": None}
        skilled = taught_drawn < 0
        drawn = (1 - np.exp(own_drawn[skilled])) / (1 - np.exp(taught_drawn[skilled]))
        low, high = np.quantile(drawn, [0.025, 0.975])
        skill = Interval(skill_retention(own.value, taught.value), float(low), float(high))
        return {"sql": kept.to_dict(), "skill": skill.to_dict()}

    def _against(self, first: str, second: str) -> tuple[Interval, dict[str, Interval], np.ndarray]:
        """The geometric mean of ratios, the ratio of each data set, and the mean's logarithm in each sample."""
        sets, logs = {}, []
        for one, weights in zip(self.judged, self._weights, strict=True):
            sets[one.name], drawn = mean_ratio(one.sql[first], one.sql[second], weights)
            logs.append(drawn)
        whole = geometric_mean_ratio([interval.value for interval in sets.values()], logs)
        return whole, sets, np.mean(logs, axis=0)
