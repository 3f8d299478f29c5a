"""The history before each window's origin: the seasonal naive path, its spread, and the errors that MASE divides by.

Seasonal naive repeats the last season. The history is the whole series up to the origin. In the path, missing values
take the last known value, and those at the start the first known one. In-sample errors are means over the pairs of
steps, a season apart, of which both are known, as in fev. A history shorter than two seasons has season 1. Prefix sums
per series make the statistics of a window a subtraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

ROUNDING = 1e-12  # relative to the largest value: a standard deviation below it is a float64 rounding error
SMALLEST_ERROR = 1e-15  # relative to the largest value: seasonal differences below it are float64 rounding errors


@dataclass
class Past:
    """Statistics of N windows, ``[N]`` each, and the seasonal naive ``path [N, H]``; see ``Histories.before``.

    They are in the units of the store, like the windows. ``zero [N]`` is the zero of the input in these units.
    """

    scale: np.ndarray
    squared: np.ndarray
    spread: np.ndarray
    season: np.ndarray
    path: np.ndarray
    zero: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        """``[N]`` bool: the in-sample seasonal naive error is known and above zero (and above rounding errors)."""
        return np.isfinite(self.scale) & (self.scale > 0)

    def take(self, rows: np.ndarray) -> Past:
        """The statistics of some windows."""
        return Past(
            self.scale[rows], self.squared[rows], self.spread[rows], self.season[rows], self.path[rows], self.zero[rows]
        )


class Histories:
    """Histories of the series of a store; one series at a time is in memory."""

    def __init__(self, store: Any):
        self.store = store
        self._last: tuple[int, _Series] | None = None

    def before(self, series: np.ndarray, origin: np.ndarray, horizon: int) -> Past:
        """Statistics of the windows at ``origin [N]`` of ``series [N]``, for ``horizon`` steps ahead.

        ``scale`` is the mean absolute seasonal difference of the history, ``squared`` the mean squared one, and
        ``spread`` the standard deviation of these differences. They are NaN where the history is empty, is not longer
        than a season, or has no two known values a season apart. A ``scale`` of rounding errors is 0.
        """
        scale, squared, spread = np.full((3, len(series)), np.nan)
        season, path = np.ones(len(series), np.int64), np.full((len(series), horizon), np.nan)
        for one in np.unique(series):
            rows = np.flatnonzero(series == one)
            values = self._series(int(one))
            found = values.before(origin[rows], horizon)
            scale[rows], squared[rows], spread[rows], season[rows], path[rows] = found
        zero = -self.store.loc[series] / self.store.scale[series]
        return Past(scale, squared, spread, season, path, zero)

    def _series(self, index: int) -> _Series:
        if self._last is None or self._last[0] != index:
            self.store.release()
            self._last = (index, _Series(self.store.series(index), int(self.store.season[index])))
        return self._last[1]


def training_spread(train: Any, series: np.ndarray) -> np.ndarray:
    """Standard deviation over the training rows of the requested series, in input units.

    Float64 ``[S]``, NaN for all other series.

    A series with fewer than two known training rows (of a held-out file) uses all its rows. A constant series has NaN.
    ``train`` is a ``SeriesWindows`` of the training part.
    """
    start, end = train.bounds
    spread = np.full(len(train.store), np.nan)
    for i in series:
        values = np.asarray(train.store.series(int(i)), np.float64)
        rows = values[int(start[i]) : int(end[i])]
        rows = rows if np.isfinite(rows).sum() >= 2 else values
        rows = rows[np.isfinite(rows)]
        if len(rows) and rows.std() > ROUNDING * np.abs(rows).max():
            spread[i] = rows.std() * train.store.scale[i]
        train.store.release()
    return spread


class _Series:
    def __init__(self, values: np.ndarray, season: int):
        values = np.asarray(values, np.float64)
        known = np.isfinite(values)
        self.first = int(known.argmax()) if known.any() else len(values)
        self.filled = _fill(values, known)
        self.season = max(season, 1)
        self.sums = {lag: _Differences(values, lag) for lag in {1, self.season}}
        self.least = SMALLEST_ERROR * np.abs(values[known]).max(initial=0.0)

    def before(self, origin: np.ndarray, horizon: int) -> tuple[np.ndarray, ...]:
        """Scale, squared, spread, season and path before each origin."""
        season = np.where(origin >= 2 * self.season, self.season, 1)
        scale, squared, spread = np.empty((3, len(origin)))
        for lag, differences in self.sums.items():
            rows = season == lag
            scale[rows], squared[rows], spread[rows] = differences.before(origin[rows])
        scale[scale < self.least] = 0.0
        steps = origin[:, None] - season[:, None] + np.arange(horizon)[None] % season[:, None]
        path = self.filled[np.clip(steps, 0, len(self.filled) - 1)]
        unknown = origin <= self.first  # the first known value, which fills the start, would be after the origin
        scale[unknown], squared[unknown], spread[unknown], path[unknown] = np.nan, np.nan, np.nan, np.nan
        return scale, squared, spread, season, path


class _Differences:
    """Prefix sums of the known lagged differences: count, absolute values, and two moments about their mean."""

    def __init__(self, values: np.ndarray, lag: int):
        e = values[lag:] - values[:-lag]
        known = np.isfinite(e)
        self.lag, self.centre = lag, e[known].mean() if known.any() else 0.0
        centred = np.where(known, e - self.centre, 0.0)
        self.count = np.r_[0, np.cumsum(known)]
        self.absolute = np.r_[0.0, np.cumsum(np.where(known, np.abs(e), 0.0))]
        self.first = np.r_[0.0, np.cumsum(centred)]
        self.second = np.r_[0.0, np.cumsum(centred**2)]

    def before(self, origin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean absolute and mean squared difference, and the standard deviation, before each origin."""
        at = np.clip(origin - self.lag, 0, len(self.absolute) - 1)
        divisor = np.where(self.count[at] > 0, self.count[at], np.nan)
        mean = self.first[at] / divisor
        variance = np.maximum(self.second[at] / divisor - mean**2, 0)
        return self.absolute[at] / divisor, variance + (mean + self.centre) ** 2, np.sqrt(variance)


def _fill(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    if known.all() or not known.any():
        return values
    index = np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))
    index[: known.argmax()] = known.argmax()
    return values[index]
