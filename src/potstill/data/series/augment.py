"""Augmentation: real windows of the training part, resampled, mixed and warped.

Mixing standardised windows of several series follows TSMixup (Ansari et al., Chronos, 2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from potstill.data.rng import Rng, uniforms
from potstill.data.series.sampling import WindowSampler
from potstill.data.synthetic import draw
from potstill.data.synthetic.noise import fractal, irregular, level, unit

if TYPE_CHECKING:
    from potstill.data.series.windows import SeriesWindows

AUGMENTATION_VERSION = 1  # raise it whenever the same (seed, index) gives a different window

_SALT, _MAX_MIXED = 0xA06, 3
_MIN_VALUES = 8  # finite values needed for standardisation
_SHORT_SHARE, _MIN_ROWS = 0.12, 24  # share of windows from series shorter than a window, and the rows those need


def augment(
    windows: SeriesWindows,
    bounds: tuple[np.ndarray, np.ndarray],
    seed: int,
    indices: np.ndarray,
    sampler: WindowSampler | None = None,
    confined: bool = False,
) -> np.ndarray:
    """Make windows by mixing, resampling and warping real ones.

    Parameters
    ----------
    windows
        Real windows of the training part.
    bounds
        First row and end ``[S]`` of that part in each series; no other row is read.
    seed, indices
        ``(seed, index)`` identifies a window in any batch.
    sampler
        Samples real windows; default: data sets in proportion to the square root of their number of windows.
    confined
        Read no row outside the drawn windows (for scarce data).

    Returns
    -------
    ``[n, C + H]`` float32 of order 1, NaN where a value was missing. A share of the windows comes from series that are
    shorter than a window; the end of their future is NaN.
    """
    sampler = sampler or WindowSampler(windows, 0.5)
    indices = np.asarray(indices)
    ids = [sampler.ids(*(uniforms(seed, indices, _SALT + 2 * k + j) for j in (0, 1))) for k in range(_MAX_MIXED)]
    series, origin = windows.locate(np.concatenate(ids))
    series, origin = series.reshape(_MAX_MIXED, -1), origin.reshape(_MAX_MIXED, -1)
    reader = _Reader(windows, bounds, confined)
    out = np.empty((len(indices), reader.length), np.float32)
    for row, index in enumerate(indices.tolist()):
        rng = Rng(seed, index, _SALT)
        if len(reader.short) and rng.chance(_SHORT_SHARE):
            mixed = _short_window(rng, reader)
        else:
            mixed = _mix(rng, reader, series[:, row].tolist(), origin[:, row].tolist())
        out[row] = _usable(rng, _distort(rng, mixed))
    return out


class _Reader:
    """Reads slices of the training part, before standardisation."""

    def __init__(self, windows: SeriesWindows, bounds: tuple[np.ndarray, np.ndarray], confined: bool) -> None:
        store = windows.store
        self.values = np.asarray(store.values)
        self.offsets, (self.start, self.end) = store.offsets, bounds
        self.horizon = windows.prediction_length
        self.length = windows.context_length + self.horizon
        self.confined = confined
        rows, sets = self.end - self.start, store.dataset_of
        self.short = np.flatnonzero((rows >= _MIN_ROWS) & (rows < self.length) & (not confined))
        shares = np.cumsum(np.bincount(sets[self.short], minlength=1)[sets[self.short]] ** -0.5)
        self.short_shares = shares / shares[-1:]

    def slice(self, series: int, origin: int, steps: int) -> np.ndarray:
        """Up to ``steps`` rows around the window at ``origin``, all inside the part."""
        start, end = int(self.start[series]), int(self.end[series])
        if self.confined:
            end = min(end, origin + self.horizon)
            start = max(start, end - self.length)
        stop = min(end, max(origin + self.horizon, start + steps))
        base = int(self.offsets[series])
        return self.values[base + max(start, stop - steps) : base + stop].astype(np.float64)

    def room(self, series: int) -> int:
        """The number of rows that a slice of this series can have."""
        rows = int(self.end[series] - self.start[series])
        return min(rows, self.length) if self.confined else rows


def _mix(rng: Rng, reader: _Reader, series: list[int], origin: list[int]) -> np.ndarray:
    count = rng.weighted_choice(((5, 1), (3, 2), (2, 3)))
    parts = [_part(rng, reader, series[k], origin[k]) for k in range(count)]
    if count == 1:
        return parts[0]
    weights = rng.generator.standard_gamma(1.5, count) + 1e-3
    mixed = np.einsum("k,kn->n", weights / weights.sum(), np.stack(parts))
    future = mixed[-reader.horizon :]
    known = np.isfinite(mixed)
    return mixed if known.sum() >= 2 * _MIN_VALUES and np.isfinite(future).any() else parts[0]


def _short_window(rng: Rng, reader: _Reader) -> np.ndarray:
    """``[C + H]`` from a series shorter than a window (weekly, monthly): history padded, NaN in the late future."""
    series = int(reader.short[np.searchsorted(reader.short_shares, rng.uniform(), side="right")])
    start, end = int(reader.start[series]), int(reader.end[series])
    x = _standardised(reader.slice(series, start, end - start))
    ahead = min(reader.horizon, max(1, int(len(x) * rng.between(0.08, 0.4))))
    context, window = reader.length - reader.horizon, np.full(reader.length, np.nan)
    x = x[-(context + ahead) :]
    window[context + ahead - len(x) : context + ahead] = x
    return window


def _part(rng: Rng, reader: _Reader, series: int, origin: int) -> np.ndarray:
    """``[C + H]`` one standardised window, sometimes resampled; NaN on the left where the history is short."""
    length = reader.length
    speed = rng.uniform()
    if speed < 0.3:
        largest = min(12, reader.room(series) // (length // 2))
        factor = rng.integer(2, largest) if largest >= 2 else 1
        raw = reader.slice(series, origin, factor * length)
        raw = raw[len(raw) % factor :].reshape(-1, factor)
        x = raw.mean(axis=1) if rng.chance(0.7) else raw[:, -1]
    elif speed < 0.42:
        factor = rng.between(1.2, 3)
        raw = reader.slice(series, origin, int(np.ceil(length / factor)) + 1)
        places = np.arange(int((len(raw) - 1) * factor), -1, -1) / factor
        x = np.interp(len(raw) - 1 - places, np.arange(len(raw)), raw)
    else:
        x = reader.slice(series, origin, length)
    x = _standardised(x[-length:])
    return x if len(x) == length else np.concatenate([np.full(length - len(x), np.nan), x])


def _standardised(x: np.ndarray) -> np.ndarray:
    known = np.isfinite(x)
    count = int(np.count_nonzero(known))
    if count < _MIN_VALUES:
        return np.full(len(x), np.nan)
    largest = np.abs(x[known]).max()
    if 0 < largest < 1:  # the smallest spreads below are those of values of about 1; dividing by a power of 2 is exact
        x = np.ldexp(x, -np.frexp(largest)[1])
    if count == len(x):
        return unit(x)
    mean = x[known].mean()
    spread = max(float(x[known].std()), 1e-9)
    return np.where(known, (x - mean) / spread, np.nan)


def _distort(rng: Rng, x: np.ndarray) -> np.ndarray:
    """Apply random distortions to standardised values, each with a small probability."""
    n = len(x)
    if rng.chance(0.12):
        x = -x
    if rng.chance(0.04) and np.isfinite(x[0]):  # padding must not become the future
        x = x[::-1]
    if rng.chance(0.15):
        x = (x + rng.between(0, 3)) * np.exp(rng.log_between(0.05, 0.6) * fractal(rng, n, 2.2))
    if rng.chance(0.15):
        x = x + rng.log_between(0.1, 2) * level(rng, n)
    if rng.chance(0.1):
        x = x + rng.log_between(0.02, 0.5) * irregular(rng, n)
    if rng.chance(0.2):
        x = _warped(rng, x)
    if rng.chance(0.15):
        share = rng.between(0.1, 0.6)
        x = (1 - share) * x + share * unit(draw(rng, n).astype(np.float64))
    if rng.chance(0.05) and np.isfinite(x).any():
        low, high = np.nanquantile(x, (rng.between(0, 0.4), rng.between(0.7, 1)))
        x = np.clip(x, low if rng.chance(0.7) else None, high if rng.chance(0.5) else None)
    return x


def _warped(rng: Rng, x: np.ndarray) -> np.ndarray:
    kind = rng.uniform()
    if kind < 0.35:
        return np.exp(rng.between(0.2, 0.9) * np.clip(x, -8, 4))
    if kind < 0.6:
        return np.sign(x) * np.abs(x) ** rng.between(0.5, 1.6)
    if kind < 0.8:
        return np.log1p(np.exp(np.clip(rng.between(1, 3) * (x + rng.between(-1, 1)), -30, 30)))
    return np.sign(x) * np.log1p(np.abs(x) * rng.between(0.5, 3))


def _usable(rng: Rng, x: np.ndarray) -> np.ndarray:
    """Limit the values; replace a window that is constant or has too few values by a synthetic series."""
    known = x[np.isfinite(x)]
    if len(known) < 2 * _MIN_VALUES or np.ptp(known) < 1e-6:
        return draw(rng, len(x))
    return np.clip(x, -9e5, 9e5)
