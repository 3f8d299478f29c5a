"""A model and a regression on covariates that are known ahead: the model forecasts what the regression leaves.

A model can be trained without covariates, or use them too little. This is the ``covariate_regressor`` of
AutoGluon-TimeSeries; here the regression is on seasonal differences, so that a season or slow level that a covariate
shares with the target is left to the model (docs/decisions/0027).

Shapes: B windows, F covariates, C context steps, H steps ahead, N known differences, S series.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from potstill.types import Forecast, Predictor, Windows

RIDGE = 1.0  # of standardised differences: the weight of one further step on which no covariate has an effect
ROWS_PER_COVARIATE = 3  # known differences; with fewer nothing is estimated
KNOWN_SHARE = 0.5  # of a covariate's values in the context
ROUNDING = 1e-6  # relative to the covariate's size: differences below it are float32 rounding errors


class KnownRegression:
    """Forecasts windows of a store by a regression on their known covariates and a model on the residuals.

    Parameters
    ----------
    model
        Need not be able to use covariates. Those of the past and groups are left to it.
    season
        ``[S]`` steps of the season of each series of the store.
    """

    def __init__(self, model: Predictor, season: np.ndarray):
        self.model, self.season = model, season
        self.levels, self.max_context, self.max_horizon = model.levels, model.max_context, model.max_horizon

    def predict(self, windows: Windows, prediction_length: int) -> Forecast:
        """As ``Forecaster.predict``."""
        steps = windows.context.shape[1]
        effect = torch.from_numpy(linear_effect(windows, self.season[windows.series.numpy()]))
        residuals = (windows.context.double() - effect[:, :steps]).float()
        rest = self.model.predict(replace(windows, context=residuals, future_covariates=None), prediction_length)
        quantiles = rest.quantiles.double() + effect[:, None, steps:]
        values = (quantiles - rest.loc[:, :, None]) / rest.scale[:, :, None]
        return Forecast(rest.levels, values.float(), rest.loc, rest.scale, double=rest.double)


def linear_effect(windows: Windows, season: np.ndarray) -> np.ndarray:
    """The effect ``[B, C + H]`` of the known covariates on the target, relative to that of their mean.

    Parameters
    ----------
    windows
        With ``future_covariates``. Steps at which one is missing are not used for the estimate, and its effect there
        is that of its mean. A covariate of which less than half of the context is known has no effect.
    season
        ``[B]`` steps of a season, 1 without one. A season with less than two cycles in the context counts as 1.

    Notes
    -----
    Ridge regression of ``y[t] - y[t - season]`` on the same differences of the covariates, without a constant. A
    covariate whose differences are all 0 has no effect.
    """
    assert windows.future_covariates is not None
    targets = windows.context.double().numpy()
    covariates = windows.future_covariates.double().numpy()
    return np.stack([_effect(*one) for one in zip(targets, covariates, season.tolist(), strict=True)])


def _effect(target: np.ndarray, covariates: np.ndarray, season: int) -> np.ndarray:
    """``[C + H]`` of one window; ``target [C]``, ``covariates [F, C + H]``."""
    first, steps = np.argmax(np.isfinite(target)), len(target)  # the padding of a short history is no cycle
    lag = season if 2 * season <= steps - first else 1
    known = np.isfinite(covariates)
    enough = known[:, first:steps].mean(1) >= KNOWN_SHARE
    covariates, known = covariates[enough], known[enough]
    level = np.where(known, covariates, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    centred = np.where(known, covariates - level, 0)
    y, x = target[lag:] - target[:-lag], centred[:, lag:steps] - centred[:, : steps - lag]
    pairs = np.isfinite(y) & (known[:, lag:steps] & known[:, : steps - lag]).all(0)
    y, x = y[pairs], x[:, pairs]
    size = np.sqrt((x**2).sum(1) / max(len(y), 1))
    used = size > ROUNDING * np.where(known, np.abs(covariates), 0).max(1, initial=0)
    if len(y) < ROWS_PER_COVARIATE * (used.sum() + 1):
        return np.zeros(centred.shape[1])
    x = x[used] / size[used, None]
    weights = np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), x @ y)
    return (weights / size[used]) @ centred[used]
