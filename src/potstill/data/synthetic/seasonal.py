"""Trend × seasonality × noise on real calendars: days within weeks, months and weeks within years, free cycles."""

from __future__ import annotations

import numpy as np

from potstill.data.dice import Dice
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
    (9, (7.0, 52)),  # days, with the year outside
    (5, (365.25, 0)),  # days, the year alone
    (2, (5.0, 52)),  # working days
    (1, (30.44, 12)),  # days, the month
)


def calendar(dice: Dice) -> tuple[float, int]:
    """Steps per cycle and cycles per outer cycle (0: none), of a real sampling step or a free one."""
    if dice.chance(0.12):
        period = dice.log_between(3, 350)
        return (float(round(period)) if dice.chance(0.5) else period), dice.pick((0, 0, 0, 7, 4, 12))
    return dice.weigh(CALENDARS)


def profile(dice: Dice, sharp: bool = True) -> np.ndarray:
    """``[512]`` one cycle of a random shape, unit spread: smooth, daytime bumps, duty cycle, spike, saw, half sine."""
    phase = np.arange(_RESOLUTION) / _RESOLUTION
    kind = dice.uniform() if sharp else 0.0
    if kind < 0.4:
        return unit(_fourier(dice, phase))
    if kind < 0.7:
        x = np.zeros(_RESOLUTION)
        for _ in range(dice.pick((1, 1, 2, 2, 3))):
            width = dice.log_between(1.0, 60.0)
            centre = dice.uniform()
            x += dice.between(0.3, 1) * np.exp(width * (np.cos(2 * np.pi * (phase - centre)) - 1))
        if dice.chance(0.4):
            x += dice.between(0.1, 0.5) * _fourier(dice, phase) * (x.std() + 0.05)
        return unit(x) * (1.0 if dice.chance(0.85) else -1.0)
    if kind < 0.8:
        edge = dice.log_between(8, 200)
        wave = np.cos(2 * np.pi * (phase - dice.uniform())) - np.cos(np.pi * dice.between(0.1, 0.9))
        return unit(1 / (1 + np.exp(-np.clip(edge * wave, -50, 50))))
    if kind < 0.9:
        wave = np.cos(2 * np.pi * (phase - dice.uniform())) + dice.between(-0.4, 0.6)
        return unit(np.maximum(wave, 0) ** dice.between(0.5, 2.5))
    if kind < 0.95:
        shifted = (phase + dice.uniform()) % 1
        top = dice.between(0.03, 0.97)
        return unit(np.where(shifted < top, shifted / top, (1 - shifted) / (1 - top)))
    knots = dice.normals(dice.whole(4, 24))
    return unit(knots[(phase * len(knots)).astype(np.int64)])


def _fourier(dice: Dice, phase: np.ndarray) -> np.ndarray:
    orders = np.arange(1, dice.pick((1, 2, 3, 4, 6, 10)) + 1)
    parts = np.zeros(len(phase) // 2 + 1, np.complex128)
    parts[orders] = dice.normals(2 * len(orders)).view(np.complex128) * orders ** -dice.between(0.5, 2.5)
    return np.fft.irfft(parts, len(phase)) * len(phase)


def season(dice: Dice, n: int, period: float, outer: int) -> np.ndarray:
    """``[n]`` seasonal component of about unit spread, with the outer cycle's modulation and drifting amplitude."""
    time = np.arange(n) + dice.uniform() * period * max(outer, 1)  # a cycle begins at its lowest point
    if dice.chance(0.08):  # a cycle whose length wanders (sunspots, machines)
        time = time + period * dice.log_between(0.05, 0.6) * fractal(dice, n, 2.2)
    turns = time / period
    cycle = np.floor(turns).astype(np.int64)
    place = ((turns - cycle) * _RESOLUTION).astype(np.int64)
    if period < 9 and outer != 7:  # a value per day of the week or month of the year, not a curve
        table = dice.normals(64)
        if period == 7.0 and dice.chance(0.6):
            table = _weekdays(dice)
        x = unit(table[np.minimum((turns - cycle) * period, 63).astype(np.int64)])
    else:
        x = _day(dice)[place]
    if outer == 7 and dice.chance(0.65):
        x = _week(dice, x, cycle, place)
    elif outer and dice.chance(0.5):
        x = x * (1 + dice.between(0.1, 0.9) * profile(dice)[((turns / outer) % 1 * _RESOLUTION).astype(np.int64)])
    if outer and dice.chance(0.35):
        x = x + dice.log_between(0.1, 2) * profile(dice)[((turns / outer) % 1 * _RESOLUTION).astype(np.int64)]
    return (x - x.min()) * _amplitude(dice, n, period, cycle)


def _day(dice: Dice) -> np.ndarray:
    """A profile that starts at its minimum, which is 0: cycles of different height join without a jump."""
    table = profile(dice)
    lowest = int(table.argmin())
    return np.concatenate([table[lowest:], table[:lowest]]) - table[lowest]


def _weekdays(dice: Dice) -> np.ndarray:
    days = 1 + dice.between(0, 0.25) * dice.normals(7)
    start = dice.whole(0, 6)
    days[start] = days[start] + dice.sign() * dice.between(0.2, 2)
    days[(start + 1) % 7] = days[start] + dice.between(-0.5, 0.5)
    return np.resize(days, 64)


def _week(dice: Dice, x: np.ndarray, cycle: np.ndarray, place: np.ndarray) -> np.ndarray:
    days = cycle % 7
    free = days >= 5
    if dice.chance(0.4):
        x = np.where(free, dice.between(0.3, 1.1) * _day(dice)[place], x)
    factors = 1 + dice.between(0, 0.15) * dice.normals(7)
    factors[5:] *= dice.between(0.2, 1.2)
    offsets = np.where(np.arange(7) >= 5, dice.between(-1.2, 0.6), 0.0)
    return x * factors[days] + offsets[days]


def _amplitude(dice: Dice, n: int, period: float, cycle: np.ndarray) -> np.ndarray | float:
    kind = dice.uniform()
    if kind < 0.45:
        return 1.0
    spread = dice.log_between(0.05, 0.7)
    if kind < 0.75:  # day by day, as the weather does
        first = int(cycle.min())
        gains = np.exp(spread * autoregressive(dice, max(int(cycle.max()) - first + 1, 4), dice.between(0, 0.9)))
        return gains[cycle - first]
    return np.exp(spread * autoregressive(dice, n, float(np.exp(-1 / (period * dice.log_between(0.5, 20))))))


def structural(dice: Dice, n: int) -> np.ndarray:
    """``[n]`` trend, one or more seasons and noise, joined additively, multiplicatively or through a link."""
    period, outer = calendar(dice)
    x = season(dice, n, period, outer)
    if dice.chance(0.18):
        x = x + dice.log_between(0.15, 1.0) * season(dice, n, calendar(dice)[0], 0)
    if period == 7.0 and dice.chance(0.5):
        x = x + dice.log_between(0.3, 3) * season(dice, n, 365.25, 0)
    x = x / max(float(x.std()), 1e-6)
    noise = dice.log_between(0.02, 1.6) * irregular(dice, n)
    slow = dice.log_between(0.05, 3) * level(dice, n) if dice.chance(0.7) else 0.0
    if dice.chance(0.25):  # a second, faster wandering of the level: weather
        noise = noise + dice.log_between(0.1, 1.5) * autoregressive(dice, n, float(np.exp(-1 / (0.7 * period))))
    return _join(dice, x, slow, noise)


def _join(dice: Dice, x: np.ndarray, slow: np.ndarray | float, noise: np.ndarray) -> np.ndarray:
    kind = dice.uniform()
    if kind < 0.42:
        return x + slow + noise
    if kind < 0.52:  # the busier, the noisier
        busy = (x - x.min()) / max(float(np.ptp(x)), 1e-9)
        return x + slow + noise * (0.15 + 1.5 * busy)
    if kind < 0.74:
        lifted = x - x.min() + dice.log_between(0.05, 5)
        return lifted * np.exp(np.clip(0.4 * slow, -3, 3)) * np.maximum(1 + 0.3 * np.clip(noise, -3, 8), 0.02)
    if kind < 0.9:
        return np.exp(dice.between(0.2, 1.1) * np.clip(x + slow + noise, -6, 6))
    return np.maximum(x + slow + noise - dice.between(-1.2, 0.8), 0)
