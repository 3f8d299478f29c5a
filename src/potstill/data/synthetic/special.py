"""Series of particular domains: counts and rain, cloud metrics, rivers, the economy, regimes, chaos."""

from __future__ import annotations

import numpy as np

from potstill.data.rng import Rng
from potstill.data.synthetic.noise import (
    autoregressive,
    cycle,
    fast_length,
    fractal,
    irregular,
    level,
    random_walk,
    steps,
    unit,
)
from potstill.data.synthetic.seasonal import calendar, profile, season

_JOBS = (6, 10, 12, 24, 30, 36, 48, 60, 72, 96, 144, 288)  # steps between two batch jobs


def _seasonal(rng: Rng, n: int) -> np.ndarray:
    return unit(season(rng, n, *calendar(rng)))


def counts(rng: Rng, n: int) -> np.ndarray:
    """Sparse or seasonal counts: Poisson, negative binomial, zero-inflated; or rain-like wet spells."""
    log_rate = rng.between(0, 1.3) * _seasonal(rng, n) if rng.chance(0.7) else np.zeros(n)
    if rng.chance(0.6):
        log_rate = log_rate + rng.between(0.1, 0.9) * level(rng, n)
    kind = rng.uniform()
    if kind < 0.25:
        wet = 0.6 * log_rate + autoregressive(rng, n, rng.between(0.3, 0.98)) - rng.between(0, 2)
        return np.maximum(wet, 0) ** rng.between(1, 3) * (1 + rng.generator.standard_exponential(n))
    rate = rng.log_between(0.03, 60) * np.exp(np.clip(log_rate, -5, 4))
    if kind < 0.55:
        shape = rng.log_between(0.3, 20)
        rate = rate * rng.generator.standard_gamma(shape, n) / shape
    x = rng.generator.poisson(rate).astype(np.float64)
    if rng.chance(0.25):
        x = x * (rng.generator.random(n) > rng.between(0.2, 0.9))
    if rng.chance(0.1):
        x = x * np.exp(rng.normals(n) * rng.between(0.2, 1))
    return x


def _impulses(rng: Rng, n: int, expected: float) -> np.ndarray:
    """Zeros with about ``expected`` heavy-tailed positive impulses."""
    x = np.zeros(n)
    count = max(1, int(rng.generator.poisson(expected)))
    x[rng.generator.integers(0, n, count)] = rng.generator.pareto(rng.between(1.5, 5), count).clip(0, 30) + rng.between(
        0.2, 1
    )
    return x


def _decayed(x: np.ndarray, decay: float, rise: float = 0.0) -> np.ndarray:
    """Each impulse of ``x`` decays exponentially over ``decay`` steps (after rising over ``rise`` steps)."""
    size = fast_length(len(x))
    lags = np.arange(len(x))
    response = np.exp(-lags / decay)
    if rise > 0:
        response = response - np.exp(-lags / rise)
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(response, size), size)[: len(x)]


def cloud(rng: Rng, n: int) -> np.ndarray:
    """Cloud metrics: a flat floor with spikes, batch jobs, sawtooth patterns, switching loads, a weak daily cycle."""
    x = rng.log_between(0.01, 0.5) * irregular(rng, n)
    if rng.chance(0.4):
        x = x + rng.log_between(0.2, 3) * _seasonal(rng, n)
    kind = rng.uniform()
    if kind < 0.35:
        x = x + _decayed(_impulses(rng, n, rng.log_between(1, 60)), rng.log_between(0.1, 30))
    elif kind < 0.6:  # a periodic job that sometimes varies or is missing
        period = float(rng.choice(_JOBS)) if rng.chance(0.7) else rng.log_between(4, 200)
        turns = (np.arange(n) + rng.uniform() * period) / period
        job = np.floor(turns).astype(np.int64)
        width = rng.log_between(1, 0.6 * period) / period
        sizes = 1 + rng.between(0, 0.5) * rng.normals(int(job[-1]) + 1)
        sizes *= rng.generator.random(len(sizes)) > rng.choice((0.0, 0.0, 0.1, 0.3))
        x = x + rng.log_between(0.5, 5) * np.where(turns - job < width, sizes[job], 0)
    elif kind < 0.75:  # memory that fills and is freed
        period = rng.log_between(15, 400)
        turns = np.arange(n) / period + rng.uniform()
        if rng.chance(0.5):
            turns = turns + rng.between(0.05, 0.4) * fractal(rng, n, 2.5)
        x = x + rng.log_between(0.5, 4) * (turns - np.floor(turns)) ** rng.between(0.4, 1.6)
    elif kind < 0.9:  # loads that switch
        latent = autoregressive(rng, n, 1 - rng.log_between(0.002, 0.2))
        x = x + rng.log_between(0.5, 4) * np.digitize(latent, np.sort(rng.normals(rng.integer(1, 3))))
    else:
        x = x + rng.log_between(0.5, 3) * steps(rng, n)
    if rng.chance(0.3):
        x = np.exp(np.clip(x, -8, 5))
    return np.maximum(x - x.min(), 0) if rng.chance(0.5) else x


def river(rng: Rng, n: int) -> np.ndarray:
    """Skewed recessions after random events, wetter in one season; resembles snow melt and reservoirs too."""
    annual = unit(season(rng, n, rng.choice((365.25, 365.25, 365.25, 52.18, 12.0, 8766.0)), 0))
    wet = np.exp(rng.between(0.2, 1.3) * annual)
    rain = rng.generator.poisson(np.clip(rng.log_between(0.02, 0.4) * wet, 0, 20)) * rng.generator.standard_exponential(
        n
    )
    rain = rain ** rng.between(1, 1.8)
    slow = rng.log_between(8, 80)
    x = _decayed(rain, rng.log_between(1.5, 8), rng.between(0.2, 1.2))
    x = x + rng.log_between(0.02, 0.3) * _decayed(rain, slow)
    x = x + rng.log_between(0.05, 1) * (wet + 0.2)
    return x * np.exp(rng.log_between(0.005, 0.1) * rng.normals(n))


def economy(rng: Rng, n: int) -> np.ndarray:
    """Monthly, weekly or quarterly economic series: integrated noise with drift, growth, rates, business cycles."""
    growth = rng.normals(n)
    if rng.chance(0.5):
        growth = autoregressive(rng, n, rng.between(-0.3, 0.95))
    if rng.chance(0.3):
        calm = rng.between(0.3, 0.9)
        growth = growth * np.exp(calm * autoregressive(rng, n, 1 - rng.log_between(0.01, 0.2)))
    if rng.chance(0.12):
        growth = np.cumsum(growth) * 0.1 + growth
    drift = rng.between(-0.3, 1.0) * rng.choice((0.0, 0.3, 1.0))
    x = np.cumsum(growth + drift)
    if rng.chance(0.25):
        x = x + unit(cycle(rng, n, rng.log_between(20, 150), rng.between(0.96, 0.998))) * rng.log_between(2, 20)
    x = x / max(float(np.abs(np.diff(x)).mean()), 1e-9)
    if rng.chance(0.35):
        period = rng.weighted_choice(((7, 12.0), (2, 52.18), (2, 4.0), (1, 5.0)))
        x = x + rng.log_between(0.3, 12) * unit(season(rng, n, period, 0))
    if rng.chance(0.3):
        x = x + rng.log_between(0.1, 2) * irregular(rng, n)
    if rng.chance(0.5):
        x = np.exp(np.clip(x * rng.log_between(0.002, 0.03), -8, 8))
    if rng.chance(0.15):  # a rate of change, as after a stationary transformation
        x = np.diff(x, prepend=x[0])
    return x


def regimes(rng: Rng, n: int) -> np.ndarray:
    """Level shifts, piecewise trends, plateaus, saturation, changes of variance; seasonal or not."""
    x = rng.log_between(0.05, 1) * irregular(rng, n)
    if rng.chance(0.5):
        quiet = 1 / (1 + np.exp(-6 * steps(rng, n)))
        x = x * (0.2 + 2 * quiet)
    if rng.chance(0.6):
        seasonal = _seasonal(rng, n) * rng.log_between(0.2, 2)
        x = x + (seasonal * np.clip(1 + rng.between(0.3, 1) * steps(rng, n), 0, 4) if rng.chance(0.4) else seasonal)
    x = x + rng.log_between(0.5, 4) * steps(rng, n)
    if rng.chance(0.3):
        top = np.quantile(x, rng.between(0.6, 0.97))
        x = np.minimum(x, top)
    if rng.chance(0.2):
        x = np.maximum(x, np.quantile(x, rng.between(0.03, 0.4)))
    return x


def cycles(rng: Rng, n: int) -> np.ndarray:
    """Stochastic cycles, asymmetric pulses such as sunspots, logistic maps, random walks."""
    kind = rng.uniform()
    if kind < 0.35:
        x = cycle(rng, n, rng.log_between(4, 200), 1 - rng.log_between(0.001, 0.1))
        if rng.chance(0.3):
            x = np.abs(x) ** rng.between(0.8, 1.6)
    elif kind < 0.6:
        turns = np.arange(n) / rng.log_between(20, 250) + rng.log_between(0.05, 0.5) * fractal(rng, n, 2.2)
        shape = profile(rng)
        x = shape[((turns + rng.uniform()) % 1 * len(shape)).astype(np.int64)]
        x = (x - x.min()) * np.exp(0.4 * fractal(rng, n, 2))
    elif kind < 0.75:
        rate, state, path = rng.between(3.5, 4.0), rng.between(0.1, 0.9), []
        for _ in range(n):
            state = rate * state * (1 - state)
            path.append(state)
        x = np.asarray(path) * (1 + 0.2 * autoregressive(rng, n, 0.98))
        return x + 0.02 * rng.normals(n)
    else:
        x = random_walk(rng, n) + (rng.between(0.2, 2) * np.linspace(-1, 1, n) if rng.chance(0.4) else 0)
    return x + rng.log_between(0.01, 0.5) * irregular(rng, n)
