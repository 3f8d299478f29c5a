"""Windows with true values on which quantisation is calibrated and its loss is measured.

Shapes: B windows, C context, Q levels, H horizon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from potstill.families.base import Forecaster
from potstill.runtime import NotFinite, Runtime

#: the loss of an exported folder relative to PyTorch: 0.01 is one per cent more
FolderLoss = Callable[[Path], float]


@dataclass(frozen=True)
class Calibration:
    """Windows in input units.

    Attributes
    ----------
    contexts, futures
        ``[B, C]`` and ``[B, H]`` float64, NaN where missing.
    dataset
        ``[B]``: the data set of each window. As in the evaluation, data sets count equally.
    scale
        ``[B]`` in-sample seasonal naive error, the divisor of SQL.
    """

    contexts: np.ndarray
    futures: np.ndarray
    dataset: np.ndarray
    scale: np.ndarray

    @property
    def steps(self) -> int:
        """The horizon H."""
        return self.futures.shape[1]

    def first_steps(self, steps: int) -> Calibration:
        """The same windows with a shorter horizon."""
        return replace(self, futures=self.futures[:, :steps])

    def take(self, rows: slice) -> Calibration:
        """Some of the windows."""
        return Calibration(self.contexts[rows], self.futures[rows], self.dataset[rows], self.scale[rows])

    def loss_of(self, model: Forecaster) -> FolderLoss:
        """A function that compares the quantile loss of a folder with that of the PyTorch model on these windows."""
        forecast = model.predict(self.contexts, self.steps)
        levels = forecast.levels.numpy()
        reference = self._quantile_losses(forecast.quantiles.numpy(), levels)

        def loss(folder: Path) -> float:
            try:
                quantiles = Runtime(folder).predict(self.contexts, self.steps).quantiles
            except NotFinite:
                return math.inf
            ratios = self._quantile_losses(quantiles, levels) / reference
            return float(np.exp(np.log(ratios).mean())) - 1

        return loss

    def _quantile_losses(self, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """The scaled quantile loss of each data set, at the model's levels: its mean over known values."""
        error = (self.futures[:, None] - quantiles) / self.scale[:, None, None]
        level = levels[:, None]
        loss = np.maximum(level * error, (level - 1) * error)
        return np.array([np.nanmean(loss[self.dataset == one]) for one in np.unique(self.dataset)])
