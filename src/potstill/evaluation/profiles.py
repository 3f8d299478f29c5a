"""Accuracy by step ahead, and calibration: how often the true value is below each forecast quantile.

Shapes: N windows, Q levels, H steps, C columns. As in ``metrics``, each column counts alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from potstill.evaluation.metrics import EVALUATION_LEVELS, pinball


class Profile:
    """Sums over the windows of one data set and one model; ``[C, H]``, and for calibration ``[C, Q]``."""

    def __init__(self, columns: int, horizon: int):
        self.loss, self.absolute, self.known = np.zeros((3, columns, horizon))
        self.below = np.zeros((columns, len(EVALUATION_LEVELS)))

    def add(self, quantiles: np.ndarray, truth: np.ndarray, scale: np.ndarray, column: np.ndarray) -> None:
        """Add a batch of forecasts.

        Parameters
        ----------
        quantiles
            ``[N, 9, H]`` at ``EVALUATION_LEVELS``, in input units.
        truth
            ``[N, H]`` true values; NaN where unknown.
        scale
            ``[N]`` in-sample seasonal naive error of each window.
        column
            ``[N]`` column of each window, below C.
        """
        q, y = np.asarray(quantiles, np.float64), np.asarray(truth, np.float64)
        known = np.isfinite(y)
        y = np.where(known, y, 0.0)
        loss = np.where(known, 2 * pinball(q, y).mean(1) / scale[:, None], 0.0)
        error = np.where(known, np.abs(q[:, len(EVALUATION_LEVELS) // 2] - y) / scale[:, None], 0.0)
        at_most = (known[:, None] & (y[:, None] <= q)).sum(2)
        for sums, values in (
            (self.loss, loss),
            (self.absolute, error),
            (self.known, known),
            (self.below, at_most),
        ):
            np.add.at(sums, column, values)

    def by_step(self) -> dict[str, list[float]]:
        """SQL and MASE of each step ahead, ``[H]``; NaN for a step without a known true value."""
        return {"sql": _mean(self.loss, self.known), "mase": _mean(self.absolute, self.known)}

    def calibration(self) -> list[float]:
        """``[Q]`` share of true values that are at most the forecast quantile; equal to the level if calibrated."""
        return _mean(self.below, self.known.sum(1, keepdims=True))


def _mean(sums: np.ndarray, counts: np.ndarray) -> list[float]:
    """The mean of each column, averaged over the columns that have one."""
    share = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    known = np.isfinite(share)
    total, count = np.where(known, share, 0.0).sum(0), known.sum(0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0).tolist()


def profiles_of(scored: dict[str, dict[str, Profile]]) -> dict[str, Any]:
    """``by_step`` and ``calibration`` of metrics.json, from profiles by data set and model."""
    models = list(dict.fromkeys(model for one in scored.values() for model in one))

    def of(method: str) -> dict[str, dict[str, Any]]:
        return {
            model: {dataset: getattr(one[model], method)() for dataset, one in scored.items() if model in one}
            for model in models
        }

    calibration = {"levels": EVALUATION_LEVELS.tolist(), "models": of("calibration")}
    return {"by_step": of("by_step"), "calibration": calibration}
