"""Trend × seasonality × noise on real calendars: days in weeks, months and weeks in years, and arbitrary cycles."""

from __future__ import annotations

import numpy as np

from potstill.data.rng import Rng
from potstill.data.synthetic.noise import autoregressive, fractal, irregular, level, unit

_RESOLUTION = 512  # entries of a tabulated profile

# (weight, (steps per cycle, cycles per outer cycle)); an outer cycle of 7 is a week of days
CALENDARS = (
    (22, (24.0, 7)),  # hours
    (7, (48.0, 7)),  # half hours
    (6, (96.0, 7)),  # quarters of an hour
    (10, (144.0, 7)),  # ten minutes
    (11, (288.0, 7)),  # five minutes
    (2, (60.0, 24)),  # minutes: an hourly rhythm
    (2, (12.0, 7)),  # two hours
    (2, (8.0, 7)),  # three hours
    (2, (6.0, 7)),  # four hours
    (12, (12.0, 0)),  # months
    (3, (4.0, 0)),  # quarters
    (7, (52.18, 0)),  # weeks
    (9, (7.0, 52)),  # days of the week, with the year as outer cycle
    (5, (365.25, 0)),  # days, yearly cycle only
    (2, (5.0, 52)),  # working days
    (1, (30.44, 12)),  # days, monthly cycle
)


def calendar(rng: Rng) -> tuple[float, int]:
    """Steps per cycle and cycles per outer cycle (0: none), of a real sampling step or arbitrary."""
    if rng.chance(0.12):
        period = rng.log_between(3, 350)
        return (float(round(period)) if rng.chance(0.5) else period), rng.choice((0, 0, 0, 7, 4, 12))
    return rng.weighted_choice(CALENDARS)


def profile(rng: Rng, sharp: bool = True) -> np.ndarray:
    """``[512]`` one cycle of a random shape, unit spread: smooth, daytime bumps, duty cycle, spike, saw, half sine."""
    phase = np.arange(_RESOLUTION) / _RESOLUTION
    kind = rng.uniform() if sharp else 0.0
    if kind < 0.4:
        return unit(_fourier(rng, phase))
    if kind < 0.7:
        x = np.zeros(_RESOLUTION)
        for _ in range(rng.choice((1, 1, 2, 2, 3))):
            width = rng.log_between(1.0, 60.0)
            centre = rng.uniform()
            x += rng.between(0.3, 1) * np.exp(width * (np.cos(2 * np.pi * (phase - centre)) - 1))
        if rng.chance(0.4):
            x += rng.between(0.1, 0.5) * _fourier(rng, phase) * (x.std() + 0.05)
        return unit(x) * (1.0 if rng.chance(0.85) else -1.0)
    if kind < 0.8:
        edge = rng.log_between(8, 200)
        wave = np.cos(2 * np.pi * (phase - rng.uniform())) - np.cos(np.pi * rng.between(0.1, 0.9))
        return unit(1 / (1 + np.exp(-np.clip(edge * wave, -50, 50))))
    if kind < 0.9:
        wave = np.cos(2 * np.pi * (phase - rng.uniform())) + rng.between(-0.4, 0.6)
        return unit(np.maximum(wave, 0) ** rng.between(0.5, 2.5))
    if kind < 0.95:
        shifted = (phase + rng.uniform()) % 1
        top = rng.between(0.03, 0.97)
        return unit(np.where(shifted < top, shifted / top, (1 - shifted) / (1 - top)))
    knots = rng.normals(rng.integer(4, 24))
    return unit(knots[(phase * len(knots)).astype(np.int64)])


def _fourier(rng: Rng, phase: np.ndarray) -> np.ndarray:
    orders = np.arange(1, rng.choice((1, 2, 3, 4, 6, 10)) + 1)
    parts = np.zeros(len(phase) // 2 + 1, np.complex128)
    parts[orders] = rng.normals(2 * len(orders)).view(np.complex128) * orders ** -rng.between(0.5, 2.5)
    return np.fft.irfft(parts, len(phase)) * len(phase)


def season(rng: Rng, n: int, period: float, outer: int) -> np.ndarray:
    """``[n]`` seasonal component of about unit spread, with the outer cycle's modulation and drifting amplitude."""
    time = np.arange(n) + rng.uniform() * period * max(outer, 1)  # a cycle begins at its minimum
    if rng.chance(0.08):  # a cycle whose length varies (sunspots, machines)
        time = time + period * rng.log_between(0.05, 0.6) * fractal(rng, n, 2.2)
    turns = time / period
    cycle = np.floor(turns).astype(np.int64)
    place = ((turns - cycle) * _RESOLUTION).astype(np.int64)
    if period < 9 and outer != 7:  # a value per day of the week or month of the year, not a curve
        table = rng.normals(64)
        if period == 7.0 and rng.chance(0.6):
            table = _weekdays(rng)
        x = unit(table[np.minimum((turns - cycle) * period, 63).astype(np.int64)])
    else:
        x = _day(rng)[place]
    if outer == 7 and rng.chance(0.65):
        x = _week(rng, x, cycle, place)
    elif outer and rng.chance(0.5):
        x = x * (1 + rng.between(0.1, 0.9) * profile(rng)[((turns / outer) % 1 * _RESOLUTION).astype(np.int64)])
    if outer and rng.chance(0.35):
        x = x + rng.log_between(0.1, 2) * profile(rng)[((turns / outer) % 1 * _RESOLUTION).astype(np.int64)]
    return (x - x.min()) * _amplitude(rng, n, period, cycle)


def _day(rng: Rng) -> np.ndarray:
    """A profile that starts at its minimum, which is 0, so that cycles of different height join without a jump."""
    table = profile(rng)
    lowest = int(table.argmin())
    return np.concatenate([table[lowest:], table[:lowest]]) - table[lowest]


def _weekdays(rng: Rng) -> np.ndarray:
    days = 1 + rng.between(0, 0.25) * rng.normals(7)
    start = rng.integer(0, 6)
    days[start] = days[start] + rng.sign() * rng.between(0.2, 2)
    days[(start + 1) % 7] = days[start] + rng.between(-0.5, 0.5)
    return np.resize(days, 64)


def _week(rng: Rng, x: np.ndarray, cycle: np.ndarray, place: np.ndarray) -> np.ndarray:
    days = cycle % 7
    free = days >= 5
    if rng.chance(0.4):
        x = np.where(free, rng.between(0.3, 1.1) * _day(rng)[place], x)
    factors = 1 + rng.between(0, 0.15) * rng.normals(7)
    factors[5:] *= rng.between(0.2, 1.2)
    offsets = np.where(np.arange(7) >= 5, rng.between(-1.2, 0.6), 0.0)
    return x * factors[days] + offsets[days]


def _amplitude(rng: Rng, n: int, period: float, cycle: np.ndarray) -> np.ndarray | float:
    kind = rng.uniform()
    if kind < 0.45:
        return 1.0
    spread = rng.log_between(0.05, 0.7)
    if kind < 0.75:  # one factor per cycle, as weather changes by the day
        first = int(cycle.min())
        gains = np.exp(spread * autoregressive(rng, max(int(cycle.max()) - first + 1, 4), rng.between(0, 0.9)))
        return gains[cycle - first]
    return np.exp(spread * autoregressive(rng, n, float(np.exp(-1 / (period * rng.log_between(0.5, 20))))))


def structural(rng: Rng, n: int) -> np.ndarray:
    """``[n]`` trend, one or more seasons and noise, combined additively, multiplicatively or by a link function."""
    period, outer = calendar(rng)
    x = season(rng, n, period, outer)
    if rng.chance(0.18):
        x = x + rng.log_between(0.15, 1.0) * season(rng, n, calendar(rng)[0], 0)
    if period == 7.0 and rng.chance(0.5):
        x = x + rng.log_between(0.3, 3) * season(rng, n, 365.25, 0)
    x = x / max(float(x.std()), 1e-6)
    noise = rng.log_between(0.02, 1.6) * irregular(rng, n)
    slow = rng.log_between(0.05, 3) * level(rng, n) if rng.chance(0.7) else 0.0
    if rng.chance(0.25):  # a second, faster change of the level, as weather causes
        noise = noise + rng.log_between(0.1, 1.5) * autoregressive(rng, n, float(np.exp(-1 / (0.7 * period))))
    return _join(rng, x, slow, noise)


def _join(rng: Rng, x: np.ndarray, slow: np.ndarray | float, noise: np.ndarray) -> np.ndarray:
    kind = rng.uniform()
    if kind < 0.42:
        return x + slow + noise
    if kind < 0.52:  # noise grows with the level
        busy = (x - x.min()) / max(float(np.ptp(x)), 1e-9)
        return x + slow + noise * (0.15 + 1.5 * busy)
    if kind < 0.74:
        lifted = x - x.min() + rng.log_between(0.05, 5)
        return lifted * np.exp(np.clip(0.4 * slow, -3, 3)) * np.maximum(1 + 0.3 * np.clip(noise, -3, 8), 0.02)
    if kind < 0.9:
        return np.exp(rng.between(0.2, 1.1) * np.clip(x + slow + noise, -6, 6))
    return np.maximum(x + slow + noise - rng.between(-1.2, 0.8), 0)
