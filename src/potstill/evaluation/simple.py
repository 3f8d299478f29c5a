"""The forecast of a series that a model cannot read: its last value or its last season, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def simple_forecast(
    values: np.ndarray, season: int, ahead: int, horizon: int, levels: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, str]:
    """Repeat the last value, or the last season if that had smaller errors within the series.

    Parameters
    ----------
    values
        ``[N]`` float64, NaN where missing; the last value is known.
    season
        Steps in a season.
    ahead
        Missing steps after the last value; the forecast begins after them.
    horizon, levels
        Steps H and quantile levels Q.

    Returns
    -------
    tuple
        The quantiles ``[Q, H]``, the mean ``[H]``, and what was done. Errors are normal; their variance is the mean
        square of the differences at the lag, times the number of lags ahead. A single value has no differences, so all
        its quantiles are that value.
    """
    lag, deviation = _best_lag(values, season)
    steps = ahead + np.arange(horizon)
    filled = _filled(values)
    path = filled[len(values) - lag + steps % lag]
    normal = np.array([NormalDist().inv_cdf(level) for level in levels])
    quantiles = path + normal[:, None] * deviation * np.sqrt(1 + steps // lag)
    what = f"the last season of {lag:,} steps is repeated" if lag > 1 else "the last value is repeated"
    return quantiles, path, what + (", without an interval" if np.isfinite(values).sum() < 2 else "")


def _best_lag(values: np.ndarray, season: int) -> tuple[int, float]:
    """The lag with the smaller mean absolute difference, a season only if there are two; and the root mean square."""
    lags = [1, season] if 1 < season <= len(values) // 2 else [1]
    differences = {lag: _differences(values, lag) for lag in lags}
    known = {lag: found for lag, found in differences.items() if len(found)}
    lag = min(known, key=lambda lag: np.abs(known[lag]).mean(), default=1)
    found = known.get(lag, np.zeros(1))
    return lag, float(np.sqrt(np.mean(found**2)))


def _differences(values: np.ndarray, lag: int) -> np.ndarray:
    """Known differences at a lag; at lag 1 also those across gaps, per step of the gap."""
    if lag > 1:
        found = values[lag:] - values[:-lag]
        return found[np.isfinite(found)]
    known = np.flatnonzero(np.isfinite(values))
    return np.diff(values[known]) / np.sqrt(np.diff(known))


def _filled(values: np.ndarray) -> np.ndarray:
    """Missing values replaced by the last known one, those at the start by the first."""
    known = np.isfinite(values)
    index = np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))
    index[: known.argmax()] = known.argmax()
    return values[index]
