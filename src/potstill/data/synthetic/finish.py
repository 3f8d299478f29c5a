"""The last step for every synthetic series: faults, limits and rounding of measurements, and valid values."""

from __future__ import annotations

import numpy as np

from potstill.data.rng import Rng

_LARGEST = 9e5


def finish(rng: Rng, x: np.ndarray) -> np.ndarray:
    """``[n]`` float32: ``x``, sometimes with a fault, always finite, not constant, magnitudes below 1e6."""
    if rng.chance(0.4):
        x = _disturb(rng, x)
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        x = np.nan_to_num(x, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
        low, high = float(x.min()), float(x.max())
    largest = max(-low, high)
    if largest > _LARGEST:
        x = x * (_LARGEST / largest)
    if high - low < 1e-6 * max(1.0, largest):
        x = x + rng.normals(len(x)) * max(1.0, largest)
    return x.astype(np.float32)


def _disturb(rng: Rng, x: np.ndarray) -> np.ndarray:
    n, spread, kind = len(x), max(float(x.std()), 1e-9), rng.uniform()
    if kind < 0.16:  # outliers
        x = x.copy()
        places = rng.generator.integers(0, n, rng.integer(1, 8))
        one_sided = rng.chance(0.5)
        size = spread * rng.log_between(2, 12)
        x[places] += size * (1 if one_sided else np.sign(rng.normals(len(places)))) * rng.generator.random(len(places))
    elif kind < 0.24:  # a sensor that sticks, drops to zero or loses most of its signal for a while
        x = x.copy()
        begin = rng.integer(0, n - 2)
        end = min(n, begin + int(rng.log_between(2, n / 6)))
        x[begin:end] = rng.choice((x[begin], 0.0, x[begin:end] * 0.3 + 0.7 * float(x.min())))
    elif kind < 0.33:  # a shift
        x = x + np.where(np.arange(n) >= rng.integer(1, n - 1), spread * rng.sign() * rng.log_between(0.3, 4), 0)
    elif kind < 0.4:  # limits
        low, high = np.quantile(x, (rng.between(0, 0.3), rng.between(0.75, 1)))
        x = x.clip(low if rng.chance(0.5) else None, high)
    elif kind < 0.92:  # rounding
        step = spread * rng.log_between(0.01, 0.9)
        x = np.round(x / step) * step
    else:  # a noisy stretch
        begin = rng.integer(0, n - 2)
        end = min(n, begin + int(rng.log_between(5, n / 2)))
        x = x.copy()
        x[begin:end] += spread * rng.log_between(0.2, 1.5) * rng.normals(end - begin)
    return x
