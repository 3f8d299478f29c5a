"""Forecasts of the items of another library: one or more series each, with covariates where the model can use them.

Shapes: N items, D series of an item, T steps of history, C context steps, H horizon steps, P past covariates, F
known-future covariates, Q levels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from potstill.adapters.base import check_levels, name_of, predictor_of, uses_covariates
from potstill.errors import NotFinite, UserError
from potstill.evaluation.simple import simple_forecast
from potstill.families.base import in_safe_units
from potstill.types import Forecast, Windows

BATCH_SIZE = 256  # series


@dataclass
class Item:
    """One or more series that are forecast together, and their covariates.

    Attributes
    ----------
    name
        Its name in messages.
    target
        ``[D, T]`` numbers, NaN where missing.
    past
        ``[P, T]`` covariates that are known up to the last step, or None.
    known
        ``[F, T + H]`` covariates that are known ahead, or None.
    """

    name: str
    target: np.ndarray
    past: np.ndarray | None = None
    known: np.ndarray | None = None


@dataclass
class ItemForecasts:
    """Forecasts in input units, float64: ``quantiles [N, D, Q, H]``, ascending along Q, and ``mean [N, D, H]``."""

    quantiles: np.ndarray
    mean: np.ndarray


class ItemForecaster:
    """Forecasts items with any model.

    A series that the model cannot read, because no value is within its longest context or its forecast is not finite,
    is forecast simply, with a warning. A series without any value has missing forecasts.

    Parameters
    ----------
    model
        See ``predictor_of``.
    horizon
        Steps ahead.
    levels
        Quantile levels.
    season
        Steps of a season, for simple forecasts.
    device
        Such as ``cpu`` or ``cuda:1``.
    """

    def __init__(
        self, model: Any, horizon: int, levels: Sequence[float], *, season: int = 1, device: str | None = None
    ):
        self.predictor = predictor_of(model, device)
        if horizon < 1:
            raise UserError(
                f"prediction length {horizon}: must be 1 or more steps; give a positive number.",
                key="option.out_of_range",
            )
        self.horizon, self.season = horizon, season
        self.levels = check_levels(self.predictor, levels)
        self.together = uses_covariates(self.predictor)

    def forecast(self, items: Sequence[Item]) -> ItemForecasts:
        """Forecast items that have the same numbers of series and covariates.

        Raises
        ------
        UserError
            If covariates have other lengths than they must, or all forecasts of a batch are NaN or infinite.
        """
        for item in items:
            _check(item, self.horizon)
        size = max(BATCH_SIZE // len(items[0].target), 1)
        parts = [self._batch(items[first : first + size]) for first in range(0, len(items), size)]
        return ItemForecasts(np.concatenate([p.quantiles for p in parts]), np.concatenate([p.mean for p in parts]))

    def _batch(self, items: Sequence[Item]) -> ItemForecasts:
        count, series = len(items), len(items[0].target)
        quantiles = np.full((count * series, len(self.levels), self.horizon), np.nan)
        mean = np.full((count * series, self.horizon), np.nan)
        windows = self._windows(items)
        readable = windows.context.isfinite().any(dim=1)
        whole = readable.view(count, series).any(dim=1).repeat_interleave(series)  # the rows of readable items
        kept, forecast = self._predict(windows, whole.nonzero()[:, 0])
        if forecast is not None:
            levels = torch.tensor(self.levels)
            quantiles[kept], mean[kept] = forecast.at_levels(levels).quantiles.numpy(), forecast.mean.numpy()
        bad = ~np.isfinite(quantiles).all(axis=(1, 2)) | ~readable.numpy()
        for row in np.flatnonzero(bad).tolist():
            quantiles[row], mean[row] = self._simple(items[row // series].target[row % series])
        self._warn([items[row // series].name for row in np.flatnonzero(bad).tolist()], mean[bad])
        shape = (count, series)
        return ItemForecasts(quantiles.reshape(*shape, *quantiles.shape[1:]), mean.reshape(*shape, -1))

    def _windows(self, items: Sequence[Item]) -> Windows:
        """The windows of items, an item's series in one group; covariates are those of its first series."""
        longest = max(item.target.shape[1] for item in items)
        length = max(min(longest, self.predictor.max_context), 1)
        series = len(items[0].target)
        context = _aligned([item.target for item in items], length).flatten(0, 1)
        past, known = [item.past for item in items], [item.known for item in items]
        covered = (past[0] is not None, known[0] is not None)
        if not self.together or (series == 1 and not any(covered)):
            return Windows.of_context(context, self.horizon)
        return Windows.of_context(
            context,
            self.horizon,
            group=torch.arange(len(items)).repeat_interleave(series),
            past_covariates=_of_first(_aligned(past, length), series) if covered[0] else None,
            future_covariates=_of_first(_aligned(known, length + self.horizon), series) if covered[1] else None,
        )

    def _predict(self, windows: Windows, rows: torch.Tensor) -> tuple[np.ndarray, Forecast | None]:
        """The rows that have finite forecasts, and these in float64; None if there are none."""
        for _ in range(2):  # without the series whose forecast was not finite
            if not len(rows):
                break
            # any model computes in single precision; the units carry the rest
            safe, units = in_safe_units(windows.take(rows))
            try:
                forecast = self.predictor.predict(safe, self.horizon)
            except NotFinite as error:
                if len(error.rows) == len(rows):
                    raise
                rows = torch.from_numpy(np.delete(rows.numpy(), error.rows))
                continue
            return rows.numpy(), replace(forecast if units is None else units.to_input(forecast), double=True)
        return np.zeros(0, np.int64), None

    def _warn(self, names: Sequence[str], mean: np.ndarray) -> None:
        """Warn of series that the model does not forecast; ``mean [n, H]`` is missing for those without a value."""
        empty = np.isnan(mean).any(axis=1)
        if empty.any():
            first = names[int(empty.argmax())]
            warnings.warn(f"{empty.sum():,} series have no value, such as {first}; forecasts are missing", stacklevel=4)
        if not empty.all():
            warnings.warn(
                f"{name_of(self.predictor)} cannot forecast {(~empty).sum():,} series, such as"
                f" {names[int(empty.argmin())]} (no value in the last {self.predictor.max_context:,} steps, or a"
                " forecast that is not finite); the last value or season is repeated",
                stacklevel=4,
            )

    def _simple(self, values: np.ndarray) -> tuple[np.ndarray | float, np.ndarray | float]:
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            return np.nan, np.nan
        end = int(known[-1]) + 1
        history = np.where(np.isfinite(values), values, np.nan)[:end]
        return simple_forecast(history, self.season, len(values) - end, self.horizon, self.levels)[:2]


def _check(item: Item, horizon: int) -> None:
    """Raise UserError for covariates of another length than the target's."""
    steps = item.target.shape[1]
    for what, values, wanted in (("past", item.past, steps), ("known", item.known, steps + horizon)):
        if values is not None and values.shape[1] != wanted:
            raise UserError(
                f"{item.name}: its {what} covariates have {values.shape[1]:,} steps instead of {wanted:,}; give"
                + (" as many as the series has." if what == "past" else f" those of {horizon:,} steps ahead as well."),
                key="adapter.covariate_length",
            )


def _aligned(rows: Sequence[Any], length: int) -> torch.Tensor:
    """``[N, K, length]`` float64: the last steps of each ``[K, T]``, with NaN before the first; infinite is missing."""
    aligned = np.full((len(rows), len(rows[0]), length), np.nan)
    for place, row in enumerate(rows):
        newest = row[:, -length:]
        aligned[place, :, length - newest.shape[1] :] = newest
    aligned[~np.isfinite(aligned)] = np.nan
    return torch.from_numpy(aligned)


def _of_first(covariates: torch.Tensor, series: int) -> torch.Tensor:
    """Covariates of items ``[N, K, L]`` at the first series of each, ``[N · D, K, L]``; the others have none."""
    spread = covariates.new_full((len(covariates), series, *covariates.shape[1:]), torch.nan)
    spread[:, 0] = covariates
    return spread.flatten(0, 1)
