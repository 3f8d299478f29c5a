"""The factor by which a forecaster's intervals should be wider, measured on windows whose true values are known.

Shapes: N windows, H steps.
"""

from __future__ import annotations

import numpy as np

LOWEST, HIGHEST = 0.5, 3.0  # limits of the factor: few windows must not change a forecast beyond recognition


def spread_factor(
    low: np.ndarray, median: np.ndarray, high: np.ndarray, truth: np.ndarray, weights: np.ndarray, coverage: float
) -> float:
    """The factor of the distances from the median with which the band from ``low`` to ``high`` has a coverage.

    Parameters
    ----------
    low, median, high, truth
        ``[N, H]`` in one scale; steps with an unknown true value (NaN) do not count.
    weights
        ``[N]``: how much each window counts.
    coverage
        The share of true values that should be inside, in (0, 1).

    Returns
    -------
    float
        Between 0.5 and 3; 1 if no true value is known.

    References
    ----------
    Romano, Patterson and Candès, "Conformalized Quantile Regression", 2019, with a factor in place of a summand.
    """
    ratio = distances(low, median, high, truth)
    share = weights[:, None] / np.maximum(np.isfinite(truth).sum(axis=1, keepdims=True), 1)
    return factor_of(ratio, np.broadcast_to(share, ratio.shape), coverage)


def distances(low: np.ndarray, median: np.ndarray, high: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distances of true values from the median in half widths of the band on their side, NaN where unknown.

    A value is inside a band that is wider by a factor if its distance is at most the factor.
    """
    error = truth - median
    half = np.where(error >= 0, high - median, median - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(error) / np.maximum(half, 0.0)
    return np.where(error == 0, 0.0, ratio)


def factor_of(ratio: np.ndarray, share: np.ndarray, coverage: float) -> float:
    """The quantile ``coverage`` of distances of any shape, weighted by ``share``, within the limits of a factor."""
    known = ~np.isnan(ratio)
    if not known.any():
        return 1.0
    ratio, share = ratio[known], share[known]
    order = np.argsort(ratio)
    reached = np.cumsum(share[order]) >= coverage * share.sum() * (1 - 1e-9)
    return float(np.clip(ratio[order][np.argmax(reached)], LOWEST, HIGHEST))
