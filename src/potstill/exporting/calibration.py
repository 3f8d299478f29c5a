"""Windows with true values on which quantisation is calibrated and its loss is measured.

Shapes: B windows, C context, Q levels, H horizon, P past covariates, F covariates that are known ahead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from potstill.errors import NotFinite
from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
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
    dataset
        ``[B]``: the data set of each window. As in the evaluation, data sets count equally.
    scale
        ``[B]`` in-sample seasonal naive error, the divisor of SQL.
    past_covariates, future_covariates
        ``[B, P, C]`` and ``[B, F, C + H]`` of a model that reads them, or None.
    """

    contexts: np.ndarray
    futures: np.ndarray
    dataset: np.ndarray
    scale: np.ndarray
    past_covariates: np.ndarray | None = None
    future_covariates: np.ndarray | None = None

    @property
    def steps(self) -> int:
        """The horizon H."""
        return self.futures.shape[1]

    @property
    def windows(self) -> Windows:
        """What a forecaster reads."""
        past, known = (
            None if part is None else torch.from_numpy(part) for part in (self.past_covariates, self.future_covariates)
        )
        return Windows.of_context(
            torch.from_numpy(self.contexts), self.steps, past_covariates=past, future_covariates=known
        )

    def first_steps(self, steps: int) -> Calibration:
        """The same windows with a shorter horizon."""
        return replace(self, futures=self.futures[:, :steps])

    def take(self, rows: Any) -> Calibration:
        """Some of the windows."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: values[rows] for name, values in every.items() if values is not None})

    def halves(self) -> tuple[Calibration, Calibration]:
        """Every second window, on which activations are calibrated, and the others, on which the loss is measured."""
        if len(self.contexts) < 2:
            return self, self
        return self.take(slice(0, None, 2)), self.take(slice(1, None, 2))

    def parts(self, size: int) -> list[Calibration]:
        """The windows in batches."""
        return [self.take(slice(first, first + size)) for first in range(0, len(self.contexts), size)]

    def loss_of(self, model: Forecaster) -> FolderLoss:
        """A function that compares the quantile loss of a folder with that of the PyTorch model on these windows."""
        forecast = model.predict(self.windows, self.steps)
        levels = forecast.levels.numpy()
        reference = self._quantile_losses(forecast.quantiles.numpy(), levels)

        def loss(folder: Path) -> float:
            try:
                quantiles = load_forecaster(folder).predict(self.windows, self.steps).quantiles.numpy()
            except NotFinite:
                return math.inf
            comparable = reference > 0  # not where no true value is known, or every forecast is exact
            ratios = self._quantile_losses(quantiles, levels)[comparable] / reference[comparable]
            return float(np.exp(np.log(ratios).mean())) - 1 if len(ratios) else 0.0

        return loss

    def _quantile_losses(self, quantiles: np.ndarray, levels: np.ndarray) -> np.ndarray:
        """The scaled quantile loss of each data set, at the model's levels: its mean over known values."""
        error = (self.futures[:, None] - quantiles) / self.scale[:, None, None]
        level = levels[:, None]
        loss = np.maximum(level * error, (level - 1) * error)
        known = ~np.isnan(loss)
        parts = [(loss[rows], known[rows]) for rows in (self.dataset == one for one in np.unique(self.dataset))]
        return np.array([part[there].mean() if there.any() else 0.0 for part, there in parts])
