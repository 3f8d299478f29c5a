"""Series of particular worlds: counts and rain, cloud metrics, rivers, the economy, regimes, chaos."""

from __future__ import annotations

import numpy as np

from potstill.data.dice import Dice
from potstill.data.synthetic.noise import (
    autoregressive,
    cycle,
    fast_length,
    fractal,
    irregular,
    level,
    steps,
    unit,
    walk,
)
from potstill.data.synthetic.seasonal import calendar, profile, season

_JOBS = (6, 10, 12, 24, 30, 36, 48, 60, 72, 96, 144, 288)  # steps between two batch jobs


def _seasonal(dice: Dice, n: int) -> np.ndarray:
    return unit(season(dice, n, *calendar(dice)))


def counts(dice: Dice, n: int) -> np.ndarray:
    """Sparse or seasonal counts: Poisson, negative binomial, zero-inflated; or rain-like wet spells."""
    log_rate = dice.between(0, 1.3) * _seasonal(dice, n) if dice.chance(0.7) else np.zeros(n)
    if dice.chance(0.6):
        log_rate = log_rate + dice.between(0.1, 0.9) * level(dice, n)
    kind = dice.uniform()
    if kind < 0.25:
        wet = 0.6 * log_rate + autoregressive(dice, n, dice.between(0.3, 0.98)) - dice.between(0, 2)
        return np.maximum(wet, 0) ** dice.between(1, 3) * (1 + dice.rng.standard_exponential(n))
    rate = dice.log_between(0.03, 60) * np.exp(np.clip(log_rate, -5, 4))
    if kind < 0.55:
        shape = dice.log_between(0.3, 20)
        rate = rate * dice.rng.standard_gamma(shape, n) / shape
    x = dice.rng.poisson(rate).astype(np.float64)
    if dice.chance(0.25):
        x = x * (dice.rng.random(n) > dice.between(0.2, 0.9))
    if dice.chance(0.1):
        x = x * np.exp(dice.normals(n) * dice.between(0.2, 1))
    return x


def _impulses(dice: Dice, n: int, expected: float) -> np.ndarray:
    """Zeros with about ``expected`` heavy-tailed positive impulses."""
    x = np.zeros(n)
    count = max(1, int(dice.rng.poisson(expected)))
    x[dice.rng.integers(0, n, count)] = dice.rng.pareto(dice.between(1.5, 5), count).clip(0, 30) + dice.between(0.2, 1)
    return x


def _decayed(x: np.ndarray, decay: float, rise: float = 0.0) -> np.ndarray:
    """Each impulse of ``x`` dies out exponentially over ``decay`` steps (after rising over ``rise`` steps)."""
    size = fast_length(len(x))
    lags = np.arange(len(x))
    response = np.exp(-lags / decay)
    if rise > 0:
        response = response - np.exp(-lags / rise)
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(response, size), size)[: len(x)]


def cloud(dice: Dice, n: int) -> np.ndarray:
    """Cloud metrics: a flat floor with spikes, batch jobs, sawteeth, switching loads, a faint daily rhythm."""
    x = dice.log_between(0.01, 0.5) * irregular(dice, n)
    if dice.chance(0.4):
        x = x + dice.log_between(0.2, 3) * _seasonal(dice, n)
    kind = dice.uniform()
    if kind < 0.35:
        x = x + _decayed(_impulses(dice, n, dice.log_between(1, 60)), dice.log_between(0.1, 30))
    elif kind < 0.6:  # a job every so often, sometimes late, sometimes missing
        period = float(dice.pick(_JOBS)) if dice.chance(0.7) else dice.log_between(4, 200)
        turns = (np.arange(n) + dice.uniform() * period) / period
        job = np.floor(turns).astype(np.int64)
        width = dice.log_between(1, 0.6 * period) / period
        sizes = 1 + dice.between(0, 0.5) * dice.normals(int(job[-1]) + 1)
        sizes *= dice.rng.random(len(sizes)) > dice.pick((0.0, 0.0, 0.1, 0.3))
        x = x + dice.log_between(0.5, 5) * np.where(turns - job < width, sizes[job], 0)
    elif kind < 0.75:  # memory that fills and is freed
        period = dice.log_between(15, 400)
        turns = np.arange(n) / period + dice.uniform()
        if dice.chance(0.5):
            turns = turns + dice.between(0.05, 0.4) * fractal(dice, n, 2.5)
        x = x + dice.log_between(0.5, 4) * (turns - np.floor(turns)) ** dice.between(0.4, 1.6)
    elif kind < 0.9:  # loads that switch
        latent = autoregressive(dice, n, 1 - dice.log_between(0.002, 0.2))
        x = x + dice.log_between(0.5, 4) * np.digitize(latent, np.sort(dice.normals(dice.whole(1, 3))))
    else:
        x = x + dice.log_between(0.5, 3) * steps(dice, n)
    if dice.chance(0.3):
        x = np.exp(np.clip(x, -8, 5))
    return np.maximum(x - x.min(), 0) if dice.chance(0.5) else x


def river(dice: Dice, n: int) -> np.ndarray:
    """Skewed recessions after random events, wetter in one season; also snow melt and reservoirs."""
    annual = unit(season(dice, n, dice.pick((365.25, 365.25, 365.25, 52.18, 12.0, 8766.0)), 0))
    wet = np.exp(dice.between(0.2, 1.3) * annual)
    rain = dice.rng.poisson(np.clip(dice.log_between(0.02, 0.4) * wet, 0, 20)) * dice.rng.standard_exponential(n)
    rain = rain ** dice.between(1, 1.8)
    slow = dice.log_between(8, 80)
    x = _decayed(rain, dice.log_between(1.5, 8), dice.between(0.2, 1.2))
    x = x + dice.log_between(0.02, 0.3) * _decayed(rain, slow)
    x = x + dice.log_between(0.05, 1) * (wet + 0.2)
    return x * np.exp(dice.log_between(0.005, 0.1) * dice.normals(n))


def economy(dice: Dice, n: int) -> np.ndarray:
    """Monthly, weekly or quarterly economic series: integrated noise with drift, growth, rates, business cycles."""
    growth = dice.normals(n)
    if dice.chance(0.5):
        growth = autoregressive(dice, n, dice.between(-0.3, 0.95))
    if dice.chance(0.3):
        calm = dice.between(0.3, 0.9)
        growth = growth * np.exp(calm * autoregressive(dice, n, 1 - dice.log_between(0.01, 0.2)))
    if dice.chance(0.12):
        growth = np.cumsum(growth) * 0.1 + growth
    drift = dice.between(-0.3, 1.0) * dice.pick((0.0, 0.3, 1.0))
    x = np.cumsum(growth + drift)
    if dice.chance(0.25):
        x = x + unit(cycle(dice, n, dice.log_between(20, 150), dice.between(0.96, 0.998))) * dice.log_between(2, 20)
    x = x / max(float(np.abs(np.diff(x)).mean()), 1e-9)
    if dice.chance(0.35):
        period = dice.weigh(((7, 12.0), (2, 52.18), (2, 4.0), (1, 5.0)))
        x = x + dice.log_between(0.3, 12) * unit(season(dice, n, period, 0))
    if dice.chance(0.3):
        x = x + dice.log_between(0.1, 2) * irregular(dice, n)
    if dice.chance(0.5):
        x = np.exp(np.clip(x * dice.log_between(0.002, 0.03), -8, 8))
    if dice.chance(0.15):  # a rate of change: what stationary transformations leave
        x = np.diff(x, prepend=x[0])
    return x


def regimes(dice: Dice, n: int) -> np.ndarray:
    """Level shifts, piecewise trends, plateaus, saturation, changes of variance; seasonal or not."""
    x = dice.log_between(0.05, 1) * irregular(dice, n)
    if dice.chance(0.5):
        quiet = 1 / (1 + np.exp(-6 * steps(dice, n)))
        x = x * (0.2 + 2 * quiet)
    if dice.chance(0.6):
        seasonal = _seasonal(dice, n) * dice.log_between(0.2, 2)
        x = x + (seasonal * np.clip(1 + dice.between(0.3, 1) * steps(dice, n), 0, 4) if dice.chance(0.4) else seasonal)
    x = x + dice.log_between(0.5, 4) * steps(dice, n)
    if dice.chance(0.3):
        top = np.quantile(x, dice.between(0.6, 0.97))
        x = np.minimum(x, top)
    if dice.chance(0.2):
        x = np.maximum(x, np.quantile(x, dice.between(0.03, 0.4)))
    return x


def cycles(dice: Dice, n: int) -> np.ndarray:
    """Stochastic cycles, asymmetric pulses such as sunspots, logistic maps, pure walks."""
    kind = dice.uniform()
    if kind < 0.35:
        x = cycle(dice, n, dice.log_between(4, 200), 1 - dice.log_between(0.001, 0.1))
        if dice.chance(0.3):
            x = np.abs(x) ** dice.between(0.8, 1.6)
    elif kind < 0.6:
        turns = np.arange(n) / dice.log_between(20, 250) + dice.log_between(0.05, 0.5) * fractal(dice, n, 2.2)
        shape = profile(dice)
        x = shape[((turns + dice.uniform()) % 1 * len(shape)).astype(np.int64)]
        x = (x - x.min()) * np.exp(0.4 * fractal(dice, n, 2))
    elif kind < 0.75:
        rate, state, path = dice.between(3.5, 4.0), dice.between(0.1, 0.9), []
        for _ in range(n):
            state = rate * state * (1 - state)
            path.append(state)
        x = np.asarray(path) * (1 + 0.2 * autoregressive(dice, n, 0.98))
        return x + 0.02 * dice.normals(n)
    else:
        x = walk(dice, n) + (dice.between(0.2, 2) * np.linspace(-1, 1, n) if dice.chance(0.4) else 0)
    return x + dice.log_between(0.01, 0.5) * irregular(dice, n)
