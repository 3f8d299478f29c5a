"""The linear effect of covariates that are known ahead, estimated on the context of each window.

A model can be trained without covariates, or use them too little. Regression with the model on the residuals is the
``covariate_regressor`` of AutoGluon-TimeSeries; here the regression is on seasonal differences, so that a season or
slow level that a covariate shares with the target is left to the model.

Shapes: B windows, F covariates, C context steps, H steps ahead, N known differences.
"""

from __future__ import annotations

import numpy as np

from potstill.types import Windows

RIDGE = 1.0  # of standardised differences: the weight of one further step on which no covariate has an effect
ROWS_PER_COVARIATE = 3  # known differences; with fewer nothing is estimated
ROUNDING = 1e-6  # relative to the covariate's size: differences below it are float32 rounding errors


def linear_effect(windows: Windows, season: np.ndarray) -> np.ndarray:
    """The effect ``[B, C + H]`` of the known covariates on the target, relative to that of their mean.

    Parameters
    ----------
    windows
        With ``future_covariates``. Missing values of a covariate count as its mean.
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
    level = np.where(known, covariates, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    centred = np.where(known, covariates - level, 0)
    y, x = target[lag:] - target[:-lag], centred[:, lag:steps] - centred[:, : steps - lag]
    both = np.isfinite(y)
    y, x = y[both], x[:, both]
    size = np.sqrt((x**2).mean(1)) if len(y) else np.zeros(len(x))
    used = size > ROUNDING * np.abs(covariates, where=known, out=np.zeros_like(covariates)).max(1)
    if len(y) < ROWS_PER_COVARIATE * (used.sum() + 1):
        return np.zeros(covariates.shape[1])
    x = x[used] / size[used, None]
    weights = np.linalg.solve(x @ x.T + RIDGE * np.eye(len(x)), x @ y)
    return (weights / size[used]) @ centred[used]
