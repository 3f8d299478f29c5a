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

RIDGE = 0.5  # of differences relative to the largest one: how many large changes without an effect are added
ROWS_PER_COVARIATE = 3  # known differences; with fewer nothing is estimated
PAIRED_SHARE = 0.25  # of a target's known values that need one a lag before
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
        self.calibrate_horizons = getattr(model, "calibrate_horizons", 0)

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
        is that of its mean.
    season
        ``[B]`` steps of a season, 1 without one. Where the context has too few differences at this lag, another is
        taken.

    Notes
    -----
    Ridge regression of ``y[t] - y[t - season]`` on the same differences of the covariates, without a constant. A
    covariate that changed only a few times has a smaller effect than was seen. Steps ahead at which one is larger or
    smaller than ever in the context have the effect of the largest or smallest. Of covariates that are too many for
    the known differences, those with the most are used; one whose differences are all 0 has no effect.
    """
    assert windows.future_covariates is not None
    targets = windows.context.double().numpy()
    covariates = windows.future_covariates.double().numpy()
    return np.stack([_effect(*one) for one in zip(targets, covariates, season.tolist(), strict=True)])


def _effect(target: np.ndarray, covariates: np.ndarray, season: int) -> np.ndarray:
    """``[C + H]`` of one window; ``target [C]``, ``covariates [F, C + H]``."""
    steps = len(target)
    lag = _lag(target, season)
    known = np.isfinite(covariates)
    low, high = (bound.reduce(covariates[:, :steps], axis=1, keepdims=True) for bound in (np.fmin, np.fmax))
    known[:, steps:] &= np.isfinite(low)  # nothing is known of a covariate that the context does not have
    values = np.where(known, np.clip(covariates, low, high), 0)
    level = values.sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    centred = np.where(known, values - level, 0)
    y, x = target[lag:] - target[:-lag], centred[:, lag:steps] - centred[:, : steps - lag]
    pairs = np.isfinite(y) & known[:, lag:steps] & known[:, : steps - lag]
    size = np.where(pairs, np.abs(x), 0).max(1, initial=0)
    used = np.flatnonzero(size > ROUNDING * np.abs(values).max(1, initial=0))
    used = used[np.argsort(-pairs[used].sum(1), kind="stable")]
    while len(used) and pairs[used].all(0).sum() < ROWS_PER_COVARIATE * (len(used) + 1):
        used = used[:-1]  # the one with the fewest pairs
    if not len(used):
        return np.zeros(centred.shape[1])
    both = pairs[used].all(0)
    x = x[np.ix_(used, both)] / size[used, None]
    weights = np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), x @ y[both])
    return (weights / size[used]) @ centred[used]


def _lag(target: np.ndarray, season: int) -> int:
    """The first lag with enough known differences: a season, two, a step, two; 1 if there is none."""
    known = np.isfinite(target)
    first, steps = int(known.argmax()), len(target)  # the padding of a short history is no cycle
    for lag in (season, 2 * season, 1, 2):
        if 2 * lag <= steps - first and (known[lag:] & known[:-lag]).sum() >= PAIRED_SHARE * known.sum():
            return lag
    return 1
