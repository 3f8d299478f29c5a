"""The season's length: by convention, or estimated from the training part of the series."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from potstill.data.series.calendar import DAY, TimeStep, season_of
from potstill.data.series.splits import part_bounds
from potstill.runs import write_json

if TYPE_CHECKING:
    from potstill.data.series.store import Store

_SAMPLE_SERIES, _SAMPLE_ROWS = 16, 20_000
_WEEK, _YEAR = 7, 365
_LONGEST = 1000
_MOST_STEPS = 1_000_000  # of a conventional season; an hour of microseconds is none


def training_seasons(store: Store, split: str) -> np.ndarray:
    """``[S]`` int32: the season of each series, inferred from the training part of its data set.

    What is found is kept in the store's folder, because a folder of many files takes a while.

    Raises
    ------
    UserError
        See ``splits.part_bounds``.
    """
    steps = [store.step_of(dataset) for dataset in range(len(store.datasets))]
    if all(season_of(step) is not None and step.micros != DAY for step in steps):
        return store.season
    start, end = part_bounds(store, split, "train")
    key = hashlib.sha256(json.dumps([split, sorted(store.train_only)]).encode()).hexdigest()
    file = store.folder / f"seasons-{key[:16]}.json"
    found = _kept(file, len(steps))
    if found is None:
        found = []
        for dataset, step in enumerate(steps):
            mine = np.flatnonzero((store.dataset_of == dataset) & (end > start))[:_SAMPLE_SERIES]
            found.append(season(step, [store.series(i)[start[i] : end[i]] for i in mine]))
        with suppress(OSError):  # a cache that cannot be written only costs time
            write_json(file, found)
    return np.array(found, np.int32)[store.dataset_of]


def _kept(file: Path, count: int) -> list[int] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, list) and len(found) == count else None


def season(step: TimeStep, series: Sequence[np.ndarray]) -> int:
    """Steps in a season of one data set, at least 1.

    The step decides by convention (``calendar.season_of``), with two exceptions that look at the training part: a daily
    series has 365 instead of 7 if at least three years show a yearly profile and hardly a weekly one; without a
    conventional season, it is the highest peak of the autocorrelation, if above 0.3.

    Parameters
    ----------
    step
        The data set's step.
    series
        A few of its series, each ``[N]`` with NaN where missing, cut to the training part.
    """
    known = conventional(step)
    samples = [filled for x in series[:_SAMPLE_SERIES] if len(filled := _filled(x[-_SAMPLE_ROWS:])) >= 8]
    if step.micros == DAY:
        return _YEAR if _yearly(samples) else _WEEK
    return _peak(samples) if known is None else known


def conventional(step: TimeStep) -> int | None:
    """The season by convention, 1 where it would have too many steps; None if there is none."""
    known = season_of(step)
    return known if known is None or known <= _MOST_STEPS else 1


def _yearly(samples: list[np.ndarray]) -> bool:
    long = [x for x in samples if len(x) >= 3 * _YEAR]
    if not long:
        return False
    week = np.mean([_profile_share(x - _smooth(x, _WEEK), _WEEK) for x in long])
    year = np.mean([_profile_share(_smooth(x, _WEEK), _YEAR, width=29) for x in long])
    return bool(week < 0.05 and year > 0.15)


def _profile_share(x: np.ndarray, period: int, width: int = 1) -> float:
    """Share of the variance that the mean by phase explains; the profile is smoothed over ``width`` phases."""
    phase = np.arange(len(x)) % period
    profile = np.bincount(phase, x, period) / np.bincount(phase, minlength=period)
    if width > 1:
        profile = _smooth(np.tile(profile, 3), width)[period : 2 * period]
    variance = x.var()
    return float(1 - (x - profile[phase]).var() / variance) if variance > 0 else 0.0


def _peak(samples: list[np.ndarray]) -> int:
    """The lag of the highest local peak of the mean autocorrelation; 1 if no peak reaches 0.3."""
    lags = min((len(x) // 3 for x in samples), default=0)
    lags = min(lags, _LONGEST)
    if lags < 4:
        return 1
    mean = np.mean([_autocorrelation(x, lags) for x in samples], axis=0)
    inner = mean[1:-1]
    peaks = np.flatnonzero((inner > mean[:-2]) & (inner >= mean[2:])) + 1
    peaks = peaks[peaks >= 2]
    if not len(peaks) or mean[peaks].max() < 0.3:
        return 1
    return int(peaks[np.argmax(mean[peaks] > 0.9 * mean[peaks].max())])


def _autocorrelation(x: np.ndarray, lags: int) -> np.ndarray:
    """``[lags + 1]`` autocorrelation of the series without its linear trend, by FFT."""
    t = np.arange(len(x))
    x = x - np.polyval(np.polyfit(t, x, 1), t)
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    r = np.fft.irfft(power)[: lags + 1]
    return r / r[0] if r[0] > 0 else np.zeros(lags + 1)


def _smooth(x: np.ndarray, width: int) -> np.ndarray:
    """Centred moving average; the edges repeat."""
    padded = np.pad(x, width // 2, mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")[: len(x)]


def _filled(x: np.ndarray) -> np.ndarray:
    known = np.flatnonzero(np.isfinite(x))
    if not len(known):
        return np.empty(0)
    return np.interp(np.arange(len(x)), known, x[known].astype(np.float64))
