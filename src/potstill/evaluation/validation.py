"""The figure that picks the best checkpoint: SQL on a fixed sample of validation windows."""

from __future__ import annotations

from typing import Any

import numpy as np

from potstill.errors import UserError
from potstill.evaluation.baselines import SeasonalNaive
from potstill.evaluation.histories import Histories
from potstill.evaluation.metrics import LEVELS, geometric_mean, score_windows


class Validation:
    """Measures a forecaster on the same ``count`` windows again and again.

    Parameters
    ----------
    windows
        ``SeriesWindows`` of the validation part; the sample is spread over its data sets.
    count
        Windows per evaluation.

    Notes
    -----
    ``sql`` is the geometric mean over data sets of the mean scaled quantile loss, ``rel_naive`` the same divided by
    seasonal naive's.

    Raises
    ------
    UserError
        Where no window of the sample can be scored.
    """

    def __init__(self, windows: Any, count: int):
        ids = np.sort(windows.sample(count, 0))
        batch = windows.__getitems__(ids)
        series = batch.series.numpy()
        past = Histories(windows.store).before(series, batch.origin.numpy(), windows.prediction_length)
        known = np.isfinite(batch.future.numpy()).any(axis=1)
        rows = np.flatnonzero(past.usable & known)
        if not len(rows):
            raise UserError(
                f"{', '.join(windows.store.datasets[:3])}: no validation window can be scored; each needs a known"
                " future after a history that changes. Choose another data.split, or leave such series out."
            )
        past = past.take(rows)
        self.context, self.future = batch.context[rows], batch.future[rows].numpy()
        self.dataset, self.scale = windows.store.dataset_of[series[rows]], past.scale
        self.naive = self._by_dataset(SeasonalNaive().predict(batch, past))

    def __len__(self) -> int:
        return len(self.context)

    def __call__(self, forecaster: Any) -> dict[str, float]:
        """``{"sql", "rel_naive"}`` of a forecaster; lower is better."""
        import torch

        forecast = forecaster.predict(self.context, self.future.shape[1]).at_levels(torch.tensor(LEVELS))
        sql = self._by_dataset(forecast.quantiles.numpy())
        return {"sql": geometric_mean(sql), "rel_naive": geometric_mean(sql / self.naive)}

    def _by_dataset(self, quantiles: np.ndarray) -> np.ndarray:
        sql = score_windows(quantiles, self.future, self.scale, np.ones(len(self.scale))).sql
        return np.array([sql[self.dataset == one].mean() for one in np.unique(self.dataset)])
