"""The metric that selects the best checkpoint: scaled quantile loss (SQL) on a fixed sample of validation windows."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np

from potstill.errors import NotFinite, UserError
from potstill.evaluation.baselines import SeasonalNaive
from potstill.evaluation.histories import Histories
from potstill.evaluation.metrics import EVALUATION_LEVELS, geometric_mean, score_windows
from potstill.evaluation.spread import spread_factor
from potstill.types import Predictor, Windows

PRIOR_BLOCKS = 8  # observations that speak for the intervals as they are


class Validation:
    """Evaluates forecasters on the same ``count`` windows.

    Parameters
    ----------
    windows
        ``SeriesWindows`` of the validation part; the sample covers its data sets.
    count
        Windows per evaluation.

    Notes
    -----
    ``sql`` is the geometric mean over data sets of the mean scaled quantile loss, ``rel_naive`` is the same
    relative to seasonal naive.

    Raises
    ------
    UserError
        When no window of the sample can be scored.
    """

    def __init__(self, windows: Any, count: int):
        ids = np.sort(windows.sample(count, 0))
        batch = windows.batch(ids)
        series = batch.series.numpy()
        past = Histories(windows.store).before(series, batch.origin.numpy(), windows.prediction_length)
        known = np.isfinite(batch.future.numpy()).any(axis=1)
        rows = np.flatnonzero(past.usable & known)
        if not len(rows):
            raise UserError(
                f"{', '.join(windows.store.datasets[:3])}: no validation window can be scored; each needs a known"
                " future value and a history that is not constant. Choose another data.split, or leave such series"
                " out.",
                key="evaluation.no_usable_validation_window",
            )
        past = past.take(rows)
        self.windows, self.scored = _with_their_groups(batch, rows)
        self.future = batch.future[rows].numpy()
        # windows with the same number of whole horizons before them overlap
        place = np.stack([series[rows], batch.origin.numpy()[rows] // windows.prediction_length])
        self.blocks = len(np.unique(place, axis=1)[0])
        self.dataset, self.scale = windows.store.dataset_of[series[rows]], past.scale
        self.naive = self._by_dataset(SeasonalNaive().predict(batch, past))

    def __len__(self) -> int:
        return len(self.scored)

    def __call__(self, forecaster: Predictor) -> dict[str, float]:
        """``{"sql", "rel_naive"}`` of a forecaster; lower is better."""
        import torch

        try:
            forecast = forecaster.predict(self.windows, self.future.shape[1]).at_levels(torch.tensor(EVALUATION_LEVELS))
        except NotFinite:  # the trainer reports the step at which this happened
            return {"sql": math.nan, "rel_naive": math.nan}
        sql = self._by_dataset(forecast.quantiles.numpy()[self.scored])
        return {"sql": geometric_mean(sql), "rel_naive": geometric_mean(sql / self.naive)}

    def without_covariates(self) -> Validation:
        """The same without covariates: what they contribute to a forecaster."""
        other = copy(self)
        other.windows = replace(self.windows, past_covariates=None, future_covariates=None)
        return other

    def spread_factor(self, forecaster: Predictor, coverage: float = 0.8) -> float:
        """The factor of :func:`spread_factor` for the forecaster's central band, with data sets weighted equally.

        Windows of one series that share a horizon are one observation. With few of them the factor is close to 1. It is
        never below 1: on other periods and domains errors are larger than on this part (docs/decisions/0029).
        """
        counts = np.unique(self.dataset, return_inverse=True, return_counts=True)
        factor = spread_factor(*self.band(forecaster, coverage), 1 / counts[2][counts[1]], coverage)
        return max(1.0, factor ** (self.blocks / (self.blocks + PRIOR_BLOCKS)))

    def band(
        self, forecaster: Predictor, coverage: float = 0.8
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Ends and median of the forecaster's central band, and the truth.

        Returns
        -------
        tuple of ndarray
            Low end, median, high end and true values: ``[N, H]`` each, in the forecaster's scale.
        """
        import torch

        levels = torch.tensor([(1 - coverage) / 2, 0.5, (1 + coverage) / 2])
        forecast = forecaster.predict(self.windows, self.future.shape[1])
        low, median, high = forecast.at_levels(levels).values.numpy()[self.scored].swapaxes(0, 1)
        return low, median, high, forecast.scaled(self.windows.future).numpy()[self.scored]

    def _by_dataset(self, quantiles: np.ndarray) -> np.ndarray:
        sql = score_windows(quantiles, self.future, self.scale, np.ones(len(self.scale))).sql
        return np.array([sql[self.dataset == one].mean() for one in np.unique(self.dataset)])


def _with_their_groups(batch: Windows, rows: np.ndarray) -> tuple[Windows, np.ndarray]:
    """The windows of some rows together with the other members of their groups, and the rows' positions among them."""
    if batch.group is None:
        return batch.take(rows), np.arange(len(rows))
    group = batch.group.numpy()
    kept = np.flatnonzero(np.isin(group, group[rows]))
    return batch.take(kept), np.searchsorted(kept, rows)
