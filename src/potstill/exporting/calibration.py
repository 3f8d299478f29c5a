"""Windows with true values on which quantisation is calibrated and its loss is measured.

Shapes: B windows, C context, Q levels, H horizon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from potstill.families.base import Forecaster
from potstill.runtime import NotFinite, Runtime
from potstill.types import Windows

#: the loss of an exported folder relative to PyTorch: 0.01 is one per cent more
FolderLoss = Callable[[Path], float]


@dataclass(frozen=True)
class Calibration:
    """Windows in input units.

    Attributes
    ----------
    contexts, futures
        ``[B, C]`` and ``[B, H]`` float64, NaN where missing.
    """

    contexts: np.ndarray
    futures: np.ndarray

    @classmethod
    def of(cls, windows: Windows) -> Calibration:
        """The contexts and true values of windows."""
        return cls(windows.context.double().numpy(), windows.future.double().numpy())

    @property
    def steps(self) -> int:
        """The horizon H."""
        return self.futures.shape[1]

    def first_steps(self, steps: int) -> Calibration:
        """The same windows with a shorter horizon."""
        return replace(self, futures=self.futures[:, :steps])

    def loss_of(self, model: Forecaster) -> FolderLoss:
        """A function that compares the quantile loss of a folder with that of the PyTorch model on these windows."""
        forecast = model.predict(self.contexts, self.steps)
        scale, levels = forecast.scale.numpy(), forecast.levels.numpy()
        reference = self._quantile_loss(forecast.quantiles.numpy(), levels, scale)

        def loss(folder: Path) -> float:
            try:
                quantiles = Runtime(folder).predict(self.contexts, self.steps).quantiles
            except NotFinite:
                return math.inf
            return self._quantile_loss(quantiles, levels, scale) / reference - 1

        return loss

    def _quantile_loss(self, quantiles: np.ndarray, levels: np.ndarray, scale: np.ndarray) -> float:
        """Mean over known values of the quantile loss, in units of each context's standard deviation."""
        error = (self.futures[:, None] - quantiles) / scale[:, :, None]
        level = levels[:, None]
        return float(np.nanmean(np.maximum(level * error, (level - 1) * error)))


def calibration_windows(windows: Windows) -> Calibration:
    """Windows without constant contexts, which would dominate a loss in units of the standard deviation."""
    context = windows.context
    varies = torch.tensor([row[~row.isnan()].unique().numel() > 1 for row in context])
    return Calibration.of(windows.take(varies.nonzero()[:, 0]) if bool(varies.any()) else windows)
