"""The factor by which a forecaster's intervals should be wider, measured on validation windows.

Shapes: N windows, H steps.
"""

from __future__ import annotations

import numpy as np

LOWEST, HIGHEST = 0.5, 3.0  # limits of the factor: few windows must not change a forecast beyond recognition


def spread_factor(
    low: np.ndarray, median: np.ndarray, high: np.ndarray, truth: np.ndarray, weights: np.ndarray, coverage: float
) -> float:
    """The factor of the distances from the median with which the band from ``low`` to ``high`` has a coverage.

    A true value is inside the band if its distance from the median is at most the factor times the band's half width on
    that side. The factor is therefore a quantile of the ratio of the two (conformal prediction with a scaled score).

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
    known = np.isfinite(truth)
    if not known.any():
        return 1.0
    error = truth - median
    half = np.where(error >= 0, high - median, median - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, np.abs(error) / np.maximum(half, 0.0))[known]
    share = np.broadcast_to(weights[:, None] / np.maximum(known.sum(axis=1, keepdims=True), 1), truth.shape)[known]
    order = np.argsort(ratio)
    reached = np.cumsum(share[order]) >= coverage * share.sum() * (1 - 1e-9)
    return float(np.clip(ratio[order][np.argmax(reached)], LOWEST, HIGHEST))
