"""What happens to any measured series in the end: faults, limits, rounding; and the guarantee of sane values."""

from __future__ import annotations

import numpy as np

from potstill.data.dice import Dice

_LARGEST = 9e5


def finish(dice: Dice, x: np.ndarray) -> np.ndarray:
    """``[n]`` float32: ``x`` with a few faults now and then, finite, not constant, below 1e6."""
    if dice.chance(0.4):
        x = _disturb(dice, x)
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        x = np.nan_to_num(x, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)
        low, high = float(x.min()), float(x.max())
    largest = max(-low, high)
    if largest > _LARGEST:
        x = x * (_LARGEST / largest)
    if high - low < 1e-6 * max(1.0, largest):
        x = x + dice.normals(len(x)) * max(1.0, largest)
    return x.astype(np.float32)


def _disturb(dice: Dice, x: np.ndarray) -> np.ndarray:
    n, spread, kind = len(x), max(float(x.std()), 1e-9), dice.uniform()
    if kind < 0.16:  # outliers
        x = x.copy()
        places = dice.rng.integers(0, n, dice.whole(1, 8))
        one_sided = dice.chance(0.5)
        size = spread * dice.log_between(2, 12)
        x[places] += size * (1 if one_sided else np.sign(dice.normals(len(places)))) * dice.rng.random(len(places))
    elif kind < 0.24:  # a sensor that sticks, drops to zero or loses its load for a while
        x = x.copy()
        begin = dice.whole(0, n - 2)
        end = min(n, begin + int(dice.log_between(2, n / 6)))
        x[begin:end] = dice.pick((x[begin], 0.0, x[begin:end] * 0.3 + 0.7 * float(x.min())))
    elif kind < 0.33:  # a shift
        x = x + np.where(np.arange(n) >= dice.whole(1, n - 1), spread * dice.sign() * dice.log_between(0.3, 4), 0)
    elif kind < 0.4:  # limits
        low, high = np.quantile(x, (dice.between(0, 0.3), dice.between(0.75, 1)))
        x = x.clip(low if dice.chance(0.5) else None, high)
    elif kind < 0.92:  # rounding
        step = spread * dice.log_between(0.01, 0.9)
        x = np.round(x / step) * step
    else:  # few noisy stretches
        begin = dice.whole(0, n - 2)
        end = min(n, begin + int(dice.log_between(5, n / 2)))
        x = x.copy()
        x[begin:end] += spread * dice.log_between(0.2, 1.5) * dice.normals(end - begin)
    return x
