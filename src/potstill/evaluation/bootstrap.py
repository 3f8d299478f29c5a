"""Confidence intervals by a cluster bootstrap: series are resampled first, then blocks of time within each series.

Windows of one series are correlated, and windows with overlapping futures are almost equal. Resampling single windows
would make every interval too narrow. So windows are grouped by series, and within a series by blocks of one horizon.
With three series or fewer, only the blocks are resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FEW_SERIES = 3
BOOTSTRAP_SAMPLES = 1000


@dataclass
class Interval:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """A dictionary for metrics.json."""
        return {"value": self.value, "low": self.low, "high": self.high}


def draw_weights(series: np.ndarray, block: np.ndarray, repeats: int = BOOTSTRAP_SAMPLES, seed: int = 0) -> np.ndarray:
    """How often each window occurs in each bootstrap sample.

    Parameters
    ----------
    series, block
        ``[N]`` integers: the series of each window, and its block within that series (such as origin // horizon).

    Returns
    -------
    ``[repeats, N]`` float32 counts.
    """
    pairs, of_window = np.unique(np.stack([series, block]), axis=1, return_inverse=True)
    of_window = of_window.reshape(-1)
    first, size = _runs(pairs[0])
    if len(first) <= FEW_SERIES:
        first, size = np.zeros(1, np.int64), np.array([pairs.shape[1]])
    rng = np.random.default_rng(seed)
    weights = np.empty((repeats, len(series)), np.float32)
    for repeat in range(repeats):
        picked = rng.integers(0, len(first), len(first))
        room = np.repeat(size[picked], size[picked])
        start = np.repeat(first[picked], size[picked])
        drawn = start + (rng.random(len(room)) * room).astype(np.int64)
        weights[repeat] = np.bincount(drawn, minlength=pairs.shape[1])[of_window]
    return weights


def mean_ratio(above: np.ndarray, below: np.ndarray, weights: np.ndarray) -> tuple[Interval, np.ndarray]:
    """mean(above) / mean(below) over the same windows ``[N]`` with its interval, and the logarithms of the samples.

    Both means of a sample use the same windows (a paired bootstrap), so that the difficulty of a window cancels out.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(weights @ above.astype(np.float64)) - np.log(weights @ below.astype(np.float64))
        return _interval(float(above.mean() / below.mean()), logs), logs


def geometric_mean_ratio(values: list[float], logs: list[np.ndarray]) -> Interval:
    """Geometric mean over data sets of ratios, from each ratio and the logarithms of its own, independent samples."""
    if not values:
        return Interval(float("nan"), float("nan"), float("nan"))
    with np.errstate(divide="ignore", invalid="ignore"):
        return _interval(float(np.exp(np.mean(np.log(values)))), np.mean(logs, axis=0))


def samples_of_ratio(above: np.ndarray, below: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """sum(above) / sum(below) over units ``[N]``, and per bootstrap sample ``[repeats]``; above may be 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (weights @ above.astype(np.float64)) / (weights @ below.astype(np.float64))
        return float(np.float64(above.sum()) / np.float64(below.sum())), drawn


def interval_of(value: float, samples: np.ndarray) -> Interval:
    """The value with the central 95 % of its samples."""
    samples = samples[np.isfinite(samples)]
    if len(samples) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.quantile(samples, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _interval(value: float, logs: np.ndarray) -> Interval:
    logs = logs[np.isfinite(logs)]
    if len(logs) == 0:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.exp(np.quantile(logs, [0.025, 0.975]))
    return Interval(value, float(low), float(high))


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First position and length of each run of equal values in a sorted array."""
    first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    return first, np.diff(np.r_[first, len(values)])
