"""A forecaster whose intervals are as wide as its own last errors on the same series require.

A factor that is saved with a model (``evaluation.validation``) is the same for all series, and is measured once. Here
each series has its own, measured at the windows just before the forecast: where a period or a series is harder or
easier than what the model was trained on, the width follows.

Shapes: n windows, H steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from potstill.data.series.past_windows import windows_before
from potstill.data.series.store import Store
from potstill.errors import NotFinite
from potstill.evaluation.outcome import CALIBRATED
from potstill.evaluation.spread import distances, factor_of
from potstill.types import Forecast, Predictor, Windows

COVERAGE = 0.8  # of the band whose ends are compared with the truth
BAND = torch.tensor([(1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2])
PRIOR_HORIZONS = 1  # past horizons that speak for the intervals as they are
LEAST_HISTORY = 16  # rows before a past window, and two seasons, and as many as it has steps
LEAST_KNOWN = 16  # values of the context of a past window, if it is as long
INTERMITTENT = 0.5  # share of the context's values that are one and the same, such as no sale


def calibrated_rows(models: Mapping[str, Predictor], store: Store, horizons: int | None) -> dict[str, Calibrated]:
    """The models with intervals fitted to some past horizons, as ``NAME+calibrated``.

    None stands for as many as each model asks for; a model without any has no row.
    """
    asked = horizons_of(models) if horizons is None else dict.fromkeys(models, horizons)
    return {name + CALIBRATED: Calibrated(models[name], store, count) for name, count in asked.items() if count}


def horizons_of(models: Mapping[str, Predictor]) -> dict[str, int]:
    """``Forecaster.calibrate_horizons`` by name, of the models that ask for any."""
    return {name: count for name, model in models.items() if (count := getattr(model, "calibrate_horizons", 0))}


class Calibrated:
    """Forecasts windows of a store with intervals whose width follows the model's last errors.

    The distances of all quantiles from the median are multiplied by a factor for each window, in the units of the data:
    that with which the band from 10 % to 90 % would have held 80 % of the true values of the past windows. With few of
    them it is closer to 1. Intervals of intermittent series are not narrowed: where most values are equal, a band with
    the right ends holds more than its share.

    Parameters
    ----------
    model
        Forecasts ``horizons + 1`` times as many windows.
    store
        The series of the windows.
    horizons
        Past windows of each window, one after the other; those with too little history, or too few known values in
        their context, are left out.

    References
    ----------
    Romano, Patterson and Candès, "Conformalized Quantile Regression", 2019, with a factor in place of a summand; the
    past windows of a series as calibration set: ``PredictionIntervals`` of StatsForecast.
    """

    def __init__(self, model: Predictor, store: Store, horizons: int):
        self.model, self.store, self.horizons = model, store, horizons
        self.levels, self.max_context, self.max_horizon = model.levels, model.max_context, model.max_horizon

    def predict(self, windows: Windows, prediction_length: int) -> Forecast:
        """As ``Forecaster.predict``; windows need their ``series`` and ``origin``."""
        factors = self.factors(windows, prediction_length)
        return self.model.predict(windows, prediction_length).widened(widths(factors))

    def factors(self, windows: Windows, prediction_length: int) -> np.ndarray:
        """The factors ``[n]`` of windows; NaN for those without a known value before them, which keep their width."""
        horizon = prediction_length
        origin, season = windows.origin.numpy(), self.store.season[windows.series.numpy()]
        room = (origin - np.maximum(2 * season, max(horizon, LEAST_HISTORY))) // horizon  # past windows of each
        most = int(np.clip(room.max(initial=0), 0, self.horizons))
        found = np.full((len(windows), most, horizon), np.nan, np.float32)
        for back in range(1, most + 1):
            rows = np.flatnonzero(room >= back)
            found[rows, back - 1] = self._distances(windows, rows, origin[rows] - back * horizon, horizon)
        seen = (~np.isnan(found)).sum(axis=(1, 2)) / horizon  # in horizons
        factors = np.array([factor_of(one, np.ones_like(one), COVERAGE) for one in found])
        for row in np.flatnonzero(factors < 1):
            if _is_intermittent(windows.context[row].numpy()):
                factors[row] = 1.0
        return np.where(seen > 0, factors ** (seen / (seen + PRIOR_HORIZONS)), np.nan)

    def _distances(self, windows: Windows, rows: np.ndarray, origin: np.ndarray, horizon: int) -> np.ndarray:
        """``spread.distances`` of past windows ``[n, H]``; NaN where no value is known, or no forecast is finite."""
        series = windows.series.numpy()[rows].tolist()
        length = min(windows.context.shape[1], self.max_context)
        found, truth = np.full((2, len(rows), horizon), np.nan, np.float32)
        known_before = np.zeros(len(rows), int)
        for row, (i, at) in enumerate(zip(series, origin.tolist(), strict=True)):
            values = self.store.series(i)
            ahead = values[at : at + horizon]
            truth[row, : len(ahead)] = ahead
            known_before[row] = np.isfinite(values[max(at - length, 0) : at]).sum()
        kept = np.flatnonzero(known_before >= min(LEAST_KNOWN, length))
        while len(kept):
            some = [series[row] for row in kept]
            past = windows_before(self.store, some, origin[kept], length, horizon)
            try:
                forecast = self.model.predict(past, horizon).linear()
            except NotFinite as error:
                kept = np.delete(kept, error.rows)
                continue
            low, median, high = forecast.at_levels(BAND).values.cpu().numpy().swapaxes(0, 1)
            true = forecast.scaled(torch.from_numpy(truth[kept])).cpu().numpy()
            found[kept] = distances(low, median, high, true)
            break
        return found


def _is_intermittent(context: np.ndarray) -> bool:
    values = context[np.isfinite(context)]
    return bool(len(values)) and np.unique(values, return_counts=True)[1].max() >= INTERMITTENT * len(values)


def widths(factors: np.ndarray) -> torch.Tensor:
    """Factors ``[n]`` with 1 in place of NaN."""
    return torch.from_numpy(np.nan_to_num(factors, nan=1.0))
