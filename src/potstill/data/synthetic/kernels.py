"""Gaussian-process series: random sums and products of stationary kernels, drawn by circulant embedding.

The covariance of a random kernel at all lags is a vector; its FFT is the spectrum of a circulant matrix, so a draw
costs two FFTs. Negative eigenvalues (kernels that have not decayed at the longest lag) are set to zero.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from potstill.data.rng import Rng
from potstill.data.synthetic.noise import coloured, fast_length, level, unit

PERIODS = (4, 5, 6, 7, 8, 10, 12, 14, 24, 24, 24, 28, 30, 48, 52, 60, 84, 96, 144, 168, 168, 252, 288, 336, 365, 672)


@lru_cache(maxsize=64)
def _lags(n: int) -> np.ndarray:
    size = fast_length(n)
    return np.arange(size // 2 + 1, dtype=np.float64)


def _kernel(rng: Rng, n: int, periodic: bool) -> np.ndarray:
    """Correlation at lags ``0 … fast_length(n) / 2`` of one random base kernel."""
    lags = _lags(n)
    if periodic:
        period = float(rng.choice(PERIODS)) if rng.chance(0.8) else rng.log_between(3, n / 1.5)
        return np.exp(-2 * (np.sin(np.pi / period * lags) / rng.log_between(0.25, 2.5)) ** 2)
    scaled = lags / rng.log_between(1.5, 1.5 * n)
    kind = rng.uniform()
    if kind < 0.3:
        return np.exp(-0.5 * scaled**2)
    if kind < 0.55:
        return np.exp(-scaled)
    if kind < 0.75:
        return (1 + scaled) * np.exp(-scaled)
    return (1 + scaled**2 / (2 * (shape := rng.log_between(0.1, 5)))) ** -shape


def gaussian_process(rng: Rng, n: int) -> np.ndarray:
    """``[n]`` draw from a random composition of one to five kernels, sometimes warped or with a trend."""
    covariance = _kernel(rng, n, rng.chance(0.6))
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        other = _kernel(rng, n, rng.chance(0.5))
        if rng.chance(0.45):
            covariance = covariance * other
        else:
            weight = rng.log_between(0.1, 3)
            covariance = (covariance + weight * other) / (1 + weight)
    full = np.concatenate([covariance, covariance[-2:0:-1]])
    power = np.maximum(np.fft.rfft(full).real, 0)
    power += rng.log_between(1e-4, 0.5) * power.mean() if rng.chance(0.75) else 0.0
    x = coloured(rng, n, power)
    if rng.chance(0.4):
        x = x + rng.log_between(0.2, 3) * level(rng, n)
    return _warp(rng, x)


def _warp(rng: Rng, x: np.ndarray) -> np.ndarray:
    kind = rng.uniform()
    if kind < 0.6:
        return x
    x = unit(x)
    if kind < 0.78:
        return np.exp(rng.between(0.3, 1.2) * x)
    if kind < 0.86:
        return np.logaddexp(0, rng.between(1, 4) * x)
    if kind < 0.93:
        return np.tanh(rng.between(0.7, 2.5) * x)
    return np.abs(x + rng.between(-1, 1)) ** rng.between(0.7, 2)
