"""Accuracy of quantile forecasts: scores per window, then metrics per data set.

Shapes: N windows, Q levels, H steps. Steps with an unknown true value (NaN) are ignored. The point forecast is the
median. Percentage errors are fractions (0.12, not 12). ``mape`` ignores steps where the true value is close to zero
(below a thousandth of the series' standard deviation in the training part), because the ratio is meaningless there;
``mape_ignored`` is their share.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

EVALUATION_LEVELS = np.round(np.arange(1, 10) / 10, 1)
"""The nine quantile levels at which every model is evaluated."""

METRICS = ("mse", "mae", "rmse", "mse_raw", "mae_raw", "rmse_raw", "mape", "smape", "mase", "sql", "wql", "coverage_80")
TINY = 1e-3  # of a series' standard deviation; ``mape`` ignores smaller true values


def pinball(quantiles: np.ndarray, truth: np.ndarray, levels: np.ndarray = EVALUATION_LEVELS) -> np.ndarray:
    """Pinball loss ``[N, Q, H]`` of ``quantiles [N, Q, H]`` for true values ``truth [N, H]`` at ``levels [Q]``."""
    difference = truth[:, None, :] - quantiles
    above = levels[None, :, None]
    return np.maximum(above * difference, (above - 1) * difference)


@dataclass
class WindowScores:
    """Sums and means per window, ``[N]`` each. Every metric of a data set is computed from them.

    ``count`` is the number of known true values, ``percent_count`` the number of those that ``mape`` uses. Sums with
    ``_raw`` are in input units. ``squared`` and ``absolute`` are standardised by the series' standard deviation in the
    training part (NaN where that is zero). ``mase`` and ``sql`` are means over the window, divided by its in-sample
    seasonal naive error.
    """

    count: np.ndarray
    squared_raw: np.ndarray
    absolute_raw: np.ndarray
    squared: np.ndarray
    absolute: np.ndarray
    percent: np.ndarray
    percent_count: np.ndarray
    symmetric: np.ndarray
    mase: np.ndarray
    sql: np.ndarray
    pinball: np.ndarray
    magnitude: np.ndarray
    covered: np.ndarray

    @classmethod
    def join(cls, parts: list[WindowScores]) -> WindowScores:
        """Concatenate the scores of several batches."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, rows: np.ndarray) -> WindowScores:
        """The scores of some windows."""
        return WindowScores(*(getattr(self, f.name)[rows] for f in fields(self)))


def score_windows(quantiles: Any, truth: Any, scale: Any, spread: Any) -> WindowScores:
    """Score a batch of forecasts.

    Parameters
    ----------
    quantiles
        ``[N, 9, H]`` at ``EVALUATION_LEVELS``, in input units, ascending along the levels.
    truth
        ``[N, H]`` true values; NaN where unknown.
    scale
        ``[N]`` in-sample seasonal naive error of each window (see ``Histories``).
    spread
        ``[N]`` standard deviation of each window's series in the training part.

    Notes
    -----
    The scaled quantile loss (SQL) is defined as in fev-bench: twice the pinball loss, averaged over levels and steps,
    divided by the in-sample seasonal naive error (the same divisor as in MASE).
    """
    q, y = np.asarray(quantiles, np.float64), np.asarray(truth, np.float64)
    scale, spread = np.asarray(scale, np.float64), np.asarray(spread, np.float64)
    spread = np.where(spread > 0, spread, np.nan)
    known = np.isfinite(y)
    y = np.where(known, y, 0.0)
    count = known.sum(1)
    middle = q[:, len(EVALUATION_LEVELS) // 2]
    error = np.where(known, middle - y, 0.0)
    size = np.abs(error)
    steps = np.maximum(count, 1)

    usable = known & (np.abs(y) > TINY * np.nan_to_num(spread, nan=0.0)[:, None])
    percent = np.divide(size, np.abs(y), out=np.zeros_like(y), where=usable)
    both = np.abs(middle) + np.abs(y)
    symmetric = np.divide(2 * size, both, out=np.zeros_like(y), where=known & (both > 0))
    loss = 2 * np.where(known, pinball(q, y).mean(1), 0.0).sum(1)
    inside = known & (y >= q[:, 0]) & (y <= q[:, -1])
    squared, absolute = (error**2).sum(1), size.sum(1)
    return WindowScores(
        count=count,
        squared_raw=squared,
        absolute_raw=absolute,
        squared=squared / spread**2,
        absolute=absolute / spread,
        percent=percent.sum(1),
        percent_count=usable.sum(1),
        symmetric=symmetric.sum(1),
        mase=absolute / steps / scale,
        sql=loss / steps / scale,
        pinball=loss,
        magnitude=np.where(known, np.abs(y), 0.0).sum(1),
        covered=inside.sum(1),
    )


def summarise(scores: WindowScores) -> dict[str, float]:
    """Metrics of a data set from the scores of its windows; NaN where there is no value."""
    count = scores.count.sum()
    standard = np.isfinite(scores.squared)
    standard_count = scores.count[standard].sum()
    mse, mse_raw = _ratio(scores.squared[standard].sum(), standard_count), _ratio(scores.squared_raw.sum(), count)
    return {
        "mse": mse,
        "mae": _ratio(scores.absolute[standard].sum(), standard_count),
        "rmse": float(np.sqrt(mse)),
        "mse_raw": mse_raw,
        "mae_raw": _ratio(scores.absolute_raw.sum(), count),
        "rmse_raw": float(np.sqrt(mse_raw)),
        "mape": _ratio(scores.percent.sum(), scores.percent_count.sum()),
        "smape": _ratio(scores.symmetric.sum(), count),
        "mase": _mean(scores.mase),
        "sql": _mean(scores.sql),
        "wql": _ratio(scores.pinball.sum(), scores.magnitude.sum()),
        "coverage_80": _ratio(scores.covered.sum(), count),
    }


def mape_ignored(scores: WindowScores) -> float:
    """Share of known true values that ``mape`` ignores because they are close to zero."""
    return 1 - _ratio(scores.percent_count.sum(), scores.count.sum())


def relative(metrics: dict[str, float], to: dict[str, float], suffix: str) -> dict[str, float]:
    """Each metric divided by that of another model, as ``{metric}_{suffix}``; NaN where the divisor is zero."""
    return {f"{name}_{suffix}": _ratio(metrics[name], to[name]) for name in METRICS}


def geometric_mean(values: Any) -> float:
    """Geometric mean of positive values; NaN if there are none, or one is not positive and finite."""
    values = np.asarray(list(values), np.float64)
    if len(values) == 0 or not (np.isfinite(values) & (values > 0)).all():
        return float("nan")
    return float(np.exp(np.log(values).mean()))


def skill_retention(student: float, teacher: float) -> float:
    """The share of the teacher's skill that a student keeps; NaN for a teacher without skill.

    Skill is 1 − SQL relative to seasonal naive; both arguments are such relative values.
    """
    return (1 - student) / (1 - teacher) if teacher < 1 else float("nan")


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
