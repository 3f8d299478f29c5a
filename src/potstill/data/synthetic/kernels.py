"""Gaussian-process series: random sums and products of stationary kernels, drawn by circulant embedding.

The covariance of one random kernel at all lags is one vector; its FFT is the spectrum of a circulant matrix, so a
draw costs two FFTs. Negative eigenvalues (kernels that have not died out at the longest lag) are cut to zero.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from potstill.data.dice import Dice
from potstill.data.synthetic.noise import coloured, fast_length, level, unit

PERIODS = (4, 5, 6, 7, 8, 10, 12, 14, 24, 24, 24, 28, 30, 48, 52, 60, 84, 96, 144, 168, 168, 252, 288, 336, 365, 672)


@lru_cache(maxsize=64)
def _lags(n: int) -> np.ndarray:
    size = fast_length(n)
    return np.arange(size // 2 + 1, dtype=np.float64)


def _kernel(dice: Dice, n: int, periodic: bool) -> np.ndarray:
    """Correlation at lags ``0 … fast_length(n) / 2`` of one random base kernel."""
    lags = _lags(n)
    if periodic:
        period = float(dice.pick(PERIODS)) if dice.chance(0.8) else dice.log_between(3, n / 1.5)
        return np.exp(-2 * (np.sin(np.pi / period * lags) / dice.log_between(0.25, 2.5)) ** 2)
    scaled = lags / dice.log_between(1.5, 1.5 * n)
    kind = dice.uniform()
    if kind < 0.3:
        return np.exp(-0.5 * scaled**2)
    if kind < 0.55:
        return np.exp(-scaled)
    if kind < 0.75:
        return (1 + scaled) * np.exp(-scaled)
    return (1 + scaled**2 / (2 * (shape := dice.log_between(0.1, 5)))) ** -shape


def gaussian_process(dice: Dice, n: int) -> np.ndarray:
    """``[n]`` draw from a random composition of one to five kernels, warped or trended now and then."""
    covariance = _kernel(dice, n, dice.chance(0.6))
    for _ in range(dice.pick((0, 1, 1, 2, 2, 3, 4))):
        other = _kernel(dice, n, dice.chance(0.5))
        if dice.chance(0.45):
            covariance = covariance * other
        else:
            weight = dice.log_between(0.1, 3)
            covariance = (covariance + weight * other) / (1 + weight)
    full = np.concatenate([covariance, covariance[-2:0:-1]])
    power = np.maximum(np.fft.rfft(full).real, 0)
    power += dice.log_between(1e-4, 0.5) * power.mean() if dice.chance(0.75) else 0.0
    x = coloured(dice, n, power)
    if dice.chance(0.4):
        x = x + dice.log_between(0.2, 3) * level(dice, n)
    return _warp(dice, x)


def _warp(dice: Dice, x: np.ndarray) -> np.ndarray:
    kind = dice.uniform()
    if kind < 0.6:
        return x
    x = unit(x)
    if kind < 0.78:
        return np.exp(dice.between(0.3, 1.2) * x)
    if kind < 0.86:
        return np.logaddexp(0, dice.between(1, 4) * x)
    if kind < 0.93:
        return np.tanh(dice.between(0.7, 2.5) * x)
    return np.abs(x + dice.between(-1, 1)) ** dice.between(0.7, 2)
