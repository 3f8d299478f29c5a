"""Accuracy of quantile forecasts: scores per window, then metrics per data set, defined as in fev.

Shapes: N windows, Q levels, H steps. Steps with an unknown true value (NaN) are ignored. The point forecast is the
median. A metric is computed for each column of the table, then averaged over the columns, so that columns of different
units count alike; in a table with ids, all series of one column count together. Percentage errors are fractions (0.12,
not 12). ``mape`` ignores steps where the true value is close to zero (below a thousandth of the series' standard
deviation in the training part), because the ratio is meaningless there; ``mape_ignored`` is their share.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

EVALUATION_LEVELS = np.round(np.arange(1, 10) / 10, 1)
"""The nine quantile levels at which every model is evaluated."""

ERRORS = (
    "mse", "mae", "rmse", "mse_raw", "mae_raw", "rmse_raw", "mape", "smape", "wape", "mase", "rmsse", "sql", "wql",
)  # fmt: skip
"""Metrics that are errors: lower is better, and a ratio of two models' values means something."""
METRICS = (*ERRORS, "bias", "coverage_80")
TINY = 1e-3  # of a series' standard deviation; ``mape`` ignores smaller true values


def pinball(quantiles: np.ndarray, truth: np.ndarray, levels: np.ndarray = EVALUATION_LEVELS) -> np.ndarray:
    """Pinball loss ``[N, Q, H]`` of ``quantiles [N, Q, H]`` for true values ``truth [N, H]`` at ``levels [Q]``."""
    difference = truth[:, None, :] - quantiles
    above = levels[None, :, None]
    return np.maximum(above * difference, (above - 1) * difference)


@dataclass
class WindowScores:
    """Sums and means per window, ``[N]`` each. Every metric of a data set is computed from them.

    ``count`` is the number of known true values, ``percent_count`` and ``symmetric_count`` are the numbers of those
    that ``mape`` and ``smape`` use. Sums with ``_raw`` are in input units. ``squared`` and ``absolute`` are
    standardised by the series' standard deviation in the training part (NaN where that is zero). ``mase``, ``sql``
    and ``bias`` are means over the window, divided by its in-sample seasonal naive error; ``squared_scaled`` is
    divided by the mean square of it. ``column`` is a number for the column of the table.
    """

    count: np.ndarray
    squared_raw: np.ndarray
    absolute_raw: np.ndarray
    squared: np.ndarray
    absolute: np.ndarray
    percent: np.ndarray
    percent_count: np.ndarray
    symmetric: np.ndarray
    symmetric_count: np.ndarray
    mase: np.ndarray
    squared_scaled: np.ndarray
    bias: np.ndarray
    sql: np.ndarray
    pinball: np.ndarray
    magnitude: np.ndarray
    covered: np.ndarray
    column: np.ndarray

    @classmethod
    def join(cls, parts: list[WindowScores]) -> WindowScores:
        """Concatenate the scores of several batches."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))

    def take(self, rows: np.ndarray) -> WindowScores:
        """The scores of some windows."""
        return WindowScores(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def weights(self) -> np.ndarray:
        """``[N]``: how much each window's mean counts, one on average: by known steps, and columns equally."""
        _, column = np.unique(self.column, return_inverse=True)
        steps = np.bincount(column, self.count)[column]
        share = np.divide(self.count, steps, out=np.zeros(len(steps)), where=steps > 0)
        return share * len(share) / max(share.sum(), 1e-300)


def score_windows(
    quantiles: Any, truth: Any, scale: Any, spread: Any, squared_scale: Any = None, column: Any = None
) -> WindowScores:
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
    squared_scale
        ``[N]`` in-sample mean squared seasonal naive error of each window; without it there is no RMSSE.
    column
        ``[N]`` a number for the column of the table that each window is from; default: all are of one column.

    Notes
    -----
    The scaled quantile loss (SQL) is defined as in fev-bench: twice the pinball loss, averaged over levels and steps,
    divided by the in-sample seasonal naive error (the same divisor as in MASE).
    """
    q, y = np.asarray(quantiles, np.float64), np.asarray(truth, np.float64)
    scale, spread = np.asarray(scale, np.float64), np.asarray(spread, np.float64)
    squared_scale = np.full(len(q), np.nan) if squared_scale is None else np.asarray(squared_scale, np.float64)
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
        symmetric_count=(known & (both > 0)).sum(1),
        mase=absolute / steps / scale,
        squared_scaled=squared / steps / squared_scale,
        bias=error.sum(1) / steps / scale,
        sql=loss / steps / scale,
        pinball=loss,
        magnitude=np.where(known, np.abs(y), 0.0).sum(1),
        covered=inside.sum(1),
        column=np.zeros(len(q), np.int64) if column is None else np.asarray(column),
    )


def summarise(scores: WindowScores) -> dict[str, float]:
    """Metrics of a data set from the scores of its windows; NaN where there is no value.

    ``bias`` is the mean error (forecast minus true value) relative to the in-sample seasonal naive error.
    """
    columns, column = np.unique(scores.column, return_inverse=True)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(column, values, len(columns))

    def mean(values: np.ndarray, count: np.ndarray) -> np.ndarray:
        """``[columns]`` means of windows' sums."""
        above, below = total(values), total(count)
        return np.divide(above, below, out=np.full(len(columns), np.nan), where=below > 0)

    count = scores.count
    standard = np.isfinite(scores.squared)
    standard_count = np.where(standard, count, 0)
    squared, absolute = (np.where(standard, sums, 0.0) for sums in (scores.squared, scores.absolute))
    mse, mse_raw = mean(squared, standard_count), mean(scores.squared_raw, count)
    found = {
        "mse": mse,
        "mae": mean(absolute, standard_count),
        "rmse": np.sqrt(mse),
        "mse_raw": mse_raw,
        "mae_raw": mean(scores.absolute_raw, count),
        "rmse_raw": np.sqrt(mse_raw),
        "mape": mean(scores.percent, scores.percent_count),
        "smape": mean(scores.symmetric, scores.symmetric_count),
        "wape": mean(scores.absolute_raw, scores.magnitude),
        "mase": mean(scores.mase * count, count),
        "rmsse": np.sqrt(mean(scores.squared_scaled * count, count)),
        "sql": mean(scores.sql * count, count),
        "wql": mean(scores.pinball, scores.magnitude),
        "bias": mean(scores.bias * count, count),
        "coverage_80": mean(scores.covered, count),
    }
    return {name: _mean(values[~np.isnan(values)]) for name, values in found.items()}


def mape_ignored(scores: WindowScores) -> float:
    """Share of known true values that ``mape`` ignores because they are close to zero."""
    return 1 - _ratio(scores.percent_count.sum(), scores.count.sum())


def relative(metrics: dict[str, float], to: dict[str, float], suffix: str) -> dict[str, float]:
    """Each error divided by that of another model, as ``{metric}_{suffix}``; NaN where the divisor is zero."""
    return {f"{name}_{suffix}": _ratio(metrics[name], to[name]) for name in ERRORS}


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
