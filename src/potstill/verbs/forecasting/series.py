"""Forecast batches of series of a store; a series that the model cannot read is forecast simply, with a note.

Shapes: n series of a batch, Q levels, H steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from potstill.data.series.frames import CONSTANT, NO_VALUES
from potstill.data.series.past_windows import windows_before
from potstill.data.series.store import Store
from potstill.errors import NotFinite, UserError
from potstill.evaluation.calibrated import Calibrated, widths
from potstill.evaluation.simple import simple_forecast
from potstill.families.base import Forecaster
from potstill.types import Windows
from potstill.verbs.forecasting.known_method import predictor_by

NOT_FINITE = "the model's forecast is not finite"


@dataclass
class BatchForecast:
    """Forecasts of some series in input units.

    Attributes
    ----------
    quantiles, mean
        ``[n, Q, H]`` and ``[n, H]``.
    notes
        A note for each, empty where the model forecasts.
    factors
        ``[n]``: by how much its errors on past steps widen the intervals; NaN where they do not change.
    """

    quantiles: np.ndarray
    mean: np.ndarray
    notes: list[str]
    factors: np.ndarray


def reasons(store: Store, longest: int) -> list[str]:
    """Why the model does not forecast a series, or an empty string. ``longest`` is the model's longest context."""
    found = list(store.skip)
    for i in np.flatnonzero(trailing(store) >= longest):
        if found[i] in ("", CONSTANT):
            found[i] = CONSTANT if found[i] else f"no value in the last {longest:,} rows"
    return found


def trailing(store: Store) -> np.ndarray:
    """``[S]`` rows of the table after the last known value of each series; the forecast begins after them.

    With known covariates these rows are the future, and the forecast begins after the last known value.
    """
    if known_ahead(store):
        return np.zeros(len(store), np.int64)
    return store.grid_rows - store.first_row - store.lengths


def column_type(store: Store) -> type[np.floating]:
    """The type of columns with forecasts: single precision, unless it cannot hold a series of the store."""
    return np.float64 if store.rescaled.any() else np.float32


def known_ahead(store: Store) -> bool:
    """Whether the store has covariates that are known beyond the forecast origin."""
    return store.covariates is not None and bool(store.covariates.names.known)


def check_future(store: Store, horizon: int) -> None:
    """Raise UserError for a series whose known covariates end before the forecast does; warn of missing values."""
    if store.covariates is None or not store.covariates.names.known:
        return
    ahead = store.covariates.rows - store.lengths
    short = np.flatnonzero((ahead < horizon) & (store.lengths > 0))
    if len(short):
        i = int(short[0])
        raise UserError(
            f"{store.names[i]}: its covariates {', '.join(store.covariates.names.known)} are known for {ahead[i]:,} of"
            f" {horizon:,} steps after its last value; add rows with --future, or lower --prediction-length.",
            key="future.too_short",
        )
    names, first = store.covariates.names, len(store.covariates.names.past)
    missing = {
        i: np.isnan(store.covariates.block(i)[first:, length : length + horizon]).sum(axis=1)
        for i, length in enumerate(store.lengths.tolist())
        if length
    }
    count = sum(int(one.sum()) for one in missing.values())
    if count:
        i = next(i for i, one in missing.items() if one.any())
        warnings.warn(
            f"{count:,} values of known covariates are missing in the steps ahead, such as"
            f" {names.known[int(missing[i].argmax())]} of {store.names[i]}; the forecast does not use them there",
            stacklevel=2,
        )


class SeriesForecaster:
    """Forecasts the series of a store.

    Parameters
    ----------
    forecaster
        The model.
    store
        The series.
    horizon, levels
        Steps and quantile levels, ascending.
    why
        See :func:`reasons`.
    known_method
        How known covariates are used, see ``known_method.predictor_by``.
    calibrate
        Past horizons to whose errors the intervals are fitted, see ``evaluation.calibrated``; 0: none.
    """

    def __init__(
        self,
        forecaster: Forecaster,
        store: Store,
        horizon: int,
        levels: Sequence[float],
        why: list[str],
        known_method: str,
        calibrate: int,
    ):
        self.forecaster, self.store, self.horizon, self.levels, self.why = forecaster, store, horizon, levels, why
        self.predictor = predictor_by(known_method, forecaster, store.season)
        self.calibrated = Calibrated(self.predictor, store, calibrate) if calibrate else None
        self.tail = trailing(store)
        self.kind = column_type(store)

    def forecast(self, rows: Sequence[int]) -> BatchForecast:
        """Forecast some series."""
        count = len(rows)
        quantiles = np.empty((count, len(self.levels), self.horizon))
        mean, notes, factors = np.empty((count, self.horizon)), [""] * count, np.full(count, np.nan)
        by_model = np.array([not self.why[i] for i in rows])
        if by_model.any():
            readable = [i for i, chosen in zip(rows, by_model, strict=True) if chosen]
            quantiles[by_model], mean[by_model], factors[by_model] = self._by_model(readable)
        for place, i in enumerate(rows):
            why = self.why[i]
            if not why and not np.isfinite(quantiles[place]).all():
                why = NOT_FINITE
            if why:
                quantiles[place], mean[place], notes[place] = self._without_model(i, why)
        series = np.asarray(rows)
        quantiles, mean = (self.store.to_input_units(series, values) for values in (quantiles, mean))
        # a forecast beyond the column's precision is written as its largest number, never as infinity
        largest = np.finfo(self.kind).max
        return BatchForecast(quantiles.clip(-largest, largest), mean.clip(-largest, largest), notes, factors)

    def _by_model(self, series: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The model's quantiles ``[n, Q, H]``, means ``[n, H]`` and factors ``[n]``.

        NaN for series whose forecast is not finite.
        """
        quantiles = np.full((len(series), len(self.levels), self.horizon), np.nan)
        mean, factors = np.full((len(series), self.horizon), np.nan), np.full(len(series), np.nan)
        kept = np.arange(len(series))
        for _ in range(2):  # without the series whose forecast was not finite
            if not len(kept):
                break
            try:
                windows = self._windows([series[k] for k in kept])
                forecast = self.predictor.predict(windows, self.horizon)
            except NotFinite as error:
                kept = np.delete(kept, error.rows)
                continue
            mean[kept] = forecast.mean.numpy()
            if self.calibrated:
                factors[kept] = self.calibrated.factors(windows, self.horizon)
                forecast = forecast.widened(widths(factors[kept]))
            quantiles[kept] = forecast.at_levels(torch.tensor(self.levels)).quantiles.numpy()
            break
        return quantiles, mean, factors

    def _windows(self, series: list[int]) -> Windows:
        """The windows that end with the last row of the table."""
        origin = self.store.lengths[series] + self.tail[series]
        return windows_before(self.store, series, origin, self.forecaster.max_context, self.horizon)

    def _without_model(self, i: int, why: str) -> tuple[np.ndarray | float, np.ndarray | float, str]:
        if why == NO_VALUES:
            return np.nan, np.nan, "no values: there is nothing to forecast from"
        values = np.asarray(self.store.series(i), np.float64)
        if why == CONSTANT:
            return values[-1], values[-1], ""
        season = int(self.store.season[i])
        quantiles, mean, what = simple_forecast(values, season, int(self.tail[i]), self.horizon, self.levels)
        return quantiles, mean, f"{why}: {what}"
