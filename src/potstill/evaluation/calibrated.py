"""A forecaster whose intervals are as wide as its own last errors on the same series require.

A factor that is saved with a model (``evaluation.validation``) is the same for all series, and is measured once. Here
each series has its own, measured at the windows just before the forecast: where a period or a series is harder or
easier than what the model was trained on, the width follows.

Shapes: n windows, H steps.
"""

from __future__ import annotations

import numpy as np
import torch

from potstill.data.series.past_windows import windows_before
from potstill.data.series.store import Store
from potstill.errors import NotFinite
from potstill.evaluation.spread import spread_factor
from potstill.types import Forecast, Predictor, Windows

COVERAGE = 0.8  # of the band whose ends are compared with the truth
BAND = torch.tensor([(1 - COVERAGE) / 2, 0.5, (1 + COVERAGE) / 2])
PRIOR_HORIZONS = 1  # past horizons that speak for the intervals as they are
LEAST_HISTORY = 16  # rows before a past window, and two seasons, and as many as it has steps


class Calibrated:
    """Forecasts windows of a store with intervals whose width follows the model's last errors.

    The distances of all quantiles from the median are multiplied by a factor for each window: that with which the band
    from 10 % to 90 % would have held 80 % of the true values of the past windows. With few of them it is closer to 1.

    Parameters
    ----------
    model
        Forecasts ``horizons + 1`` times as many windows.
    store
        The series of the windows.
    horizons
        Past windows of each window, one after the other; those with too little history before them are left out.

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
        return self.with_factors(windows, prediction_length)[0]

    def with_factors(self, windows: Windows, prediction_length: int) -> tuple[Forecast, np.ndarray]:
        """The forecast, and the factors ``[n]``: NaN for windows without usable past windows, which keep their width.

        Raises
        ------
        NotFinite
            For forecasts that are not finite; past ones are left out.
        """
        forecast = self.model.predict(windows, prediction_length)
        factors = self._factors(windows, prediction_length)
        return forecast.widened(torch.from_numpy(np.nan_to_num(factors, nan=1.0))), factors

    def _factors(self, windows: Windows, horizon: int) -> np.ndarray:
        count = len(windows)
        bands = np.full((count, self.horizons, 4, horizon), np.nan)
        for back in range(self.horizons):
            at = windows.origin.numpy() - (back + 1) * horizon
            season = self.store.season[windows.series.numpy()]
            rows = np.flatnonzero(at >= np.maximum(2 * season, max(horizon, LEAST_HISTORY)))
            if len(rows):
                bands[rows, back] = self._bands(windows, rows, at[rows], horizon)
        used = np.isfinite(bands).all(axis=2).any(axis=-1).sum(axis=1)
        equal = np.ones(self.horizons)
        factors = [
            spread_factor(low, median, high, truth, equal, COVERAGE)
            for low, median, high, truth in bands.swapaxes(1, 2)
        ]
        return np.where(used > 0, np.array(factors) ** (used / (used + PRIOR_HORIZONS)), np.nan)

    def _bands(self, windows: Windows, rows: np.ndarray, origin: np.ndarray, horizon: int) -> np.ndarray:
        """Low end, median and high end of the model's band, and the truth, of past windows: ``[n, 4, H]``."""
        series = windows.series.numpy()[rows].tolist()
        found, kept = np.full((len(rows), 4, horizon), np.nan), np.arange(len(rows))
        truth = np.full((len(rows), horizon), np.nan, np.float32)
        for row, (i, at) in enumerate(zip(series, origin.tolist(), strict=True)):
            known = self.store.series(i)[at : at + horizon]
            truth[row, : len(known)] = known
        while len(kept):
            some = [series[row] for row in kept]
            past = windows_before(self.store, some, origin[kept], windows.context.shape[1], horizon)
            try:
                forecast = self.model.predict(past, horizon)
            except NotFinite as error:
                kept = np.delete(kept, error.rows)
                continue
            found[kept, :3] = forecast.at_levels(BAND).values.cpu().numpy()
            found[kept, 3] = forecast.scaled(torch.from_numpy(truth[kept])).cpu().numpy()
            break
        return found
