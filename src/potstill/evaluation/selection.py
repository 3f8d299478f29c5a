"""The windows on which a data set is evaluated: evenly spaced, at all phases of the season, and scorable."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd
from typing import Any

import numpy as np

from potstill.evaluation.histories import Histories, Past
from potstill.recipe import ForecastEvaluation

_LOCATED = 1_000_000  # windows whose series are looked up at once
DEFAULT_STRIDE = 5
ENOUGH_WINDOWS = 100  # with fewer at the default stride, every window is used
WINDOWS_PER_CHUNK = 256
LEAST_KNOWN = 3  # values in a context


@dataclass
class Selection:
    """The windows of one data set, in order of series and origin, ``[N]`` each, and how many were left out.

    ``dropped`` counts windows by reason. ``partial``: no window has a complete future, so windows with some known true
    values are used and the missing ones are masked.
    """

    dataset: str
    ids: np.ndarray
    series: np.ndarray
    origin: np.ndarray
    stride: int
    available: int
    partial: bool = False
    dropped: dict[str, int] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """The entry in metrics.json."""
        counts = {"windows": len(self.ids), "available": self.available, "stride": self.stride}
        masked = {"note": "no future is complete: missing true values are masked"} if self.partial else {}
        return {**counts, "series": len(np.unique(self.series)), "dropped": self.dropped, **masked}

    def subset(self, most: int | None) -> np.ndarray:
        """Positions of at most ``most`` windows, evenly spaced."""
        if most is None or len(self.ids) <= most:
            return np.arange(len(self.ids))
        return np.linspace(0, len(self.ids) - 1, most).astype(np.int64)


def select_windows(windows: Any, dataset: str, config: ForecastEvaluation, histories: Histories) -> Selection:
    """Select windows of a data set and drop those that cannot be scored.

    A window is dropped if its future has a missing value (unless every future has one), its context has fewer than
    three known values, or its in-sample seasonal naive error is not finite or zero (apart from rounding errors).
    """
    ids = windows.of_dataset(dataset)
    available = len(ids)
    series, counts = _windows_of_series(windows, ids)
    step = choose_step(counts, config, np.unique(windows.store.season[series]), windows.stride)
    ids = ids[_from_the_ends(counts, step)]
    if len(ids) > config.max_windows:
        ids = ids[np.linspace(0, len(ids) - 1, config.max_windows).astype(np.int64)]
    series, origin = windows.locate(ids)
    selection = Selection(dataset, ids, series, origin, step * windows.stride, available)
    if len(ids):
        _drop_unscorable(selection, windows, histories)
    return selection


def choose_step(lengths: np.ndarray, config: ForecastEvaluation, seasons: np.ndarray, stride: int = 1) -> int:
    """The step between selected windows of each series.

    It is the requested stride, increased until at most ``max_windows`` remain. The default is 5, or 1 where 5 would
    leave fewer than 100 windows. A stride that was not requested shares no factor with a season: otherwise only some
    hours of the day would be evaluated.

    Parameters
    ----------
    lengths
        Windows of each series of the data set.
    seasons
        Seasons of the series, in steps.
    stride
        The stride of the windows themselves.
    """
    asked = max(1, (config.stride or DEFAULT_STRIDE) // stride)
    if config.stride is None and _count(lengths, asked) < ENOUGH_WINDOWS:
        asked = 1
    if config.stride is not None and _count(lengths, asked) <= config.max_windows:
        return asked
    step, longest = asked, int(lengths.max(initial=1))
    while step < longest and _count(lengths, step) > config.max_windows:
        step += 1
    while any(gcd(step, int(season)) > 1 for season in seasons):
        step += 1
    return step


def pasts(selection: Selection, histories: Histories, horizon: int, rows: slice | np.ndarray) -> Past:
    """Histories before some of the windows."""
    return histories.before(selection.series[rows], selection.origin[rows], horizon)


def _count(lengths: np.ndarray, step: int) -> int:
    return int((-(-lengths // step)).sum())


def _windows_of_series(windows: Any, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The series of windows in the order of their ids, and the number of windows of each (they are consecutive)."""
    found: list[int] = []
    counts: list[int] = []
    for first in range(0, len(ids), _LOCATED):  # at once, the positions of all windows of large files take gigabytes
        series, _ = windows.locate(ids[first : first + _LOCATED])
        begins = np.flatnonzero(np.r_[True, series[1:] != series[:-1]])
        for one, count in zip(series[begins].tolist(), np.diff(np.r_[begins, len(series)]).tolist(), strict=True):
            if found and found[-1] == one:
                counts[-1] += count
            else:
                found.append(one)
                counts.append(count)
    return np.array(found, np.int64), np.array(counts, np.int64)


def _from_the_ends(counts: np.ndarray, step: int) -> np.ndarray:
    """Every ``step``-th position of each series' windows, counted from its last one; ascending."""
    ends = np.cumsum(counts)
    parts = [np.arange(end - 1, end - count - 1, -step)[::-1] for end, count in zip(ends, counts, strict=True)]
    return np.concatenate([*parts, np.zeros(0, np.int64)])


def _drop_unscorable(selection: Selection, windows: Any, histories: Histories) -> None:
    known = np.zeros(len(selection.ids), np.int64)
    seen, usable = known.copy(), np.zeros(len(known), bool)
    for start in range(0, len(known), WINDOWS_PER_CHUNK):
        rows = slice(start, start + WINDOWS_PER_CHUNK)
        batch = windows.batch(selection.ids[rows])
        known[rows] = np.isfinite(batch.future.numpy()).sum(1)
        seen[rows] = np.isfinite(batch.context.numpy()).sum(1)
        usable[rows] = pasts(selection, histories, windows.prediction_length, rows).usable
    selection.partial = not (known == windows.prediction_length).any()
    enough = 1 if selection.partial else windows.prediction_length
    reasons = {
        "the future is unknown" if selection.partial else "the future has missing values": known < enough,
        f"fewer than {LEAST_KNOWN} known values in the context": seen < LEAST_KNOWN,
        "the history is constant, too short or has too many gaps to scale by": ~usable,
    }
    keep = np.ones(len(known), bool)
    for reason, bad in reasons.items():
        if (bad & keep).any():
            selection.dropped[reason] = int((bad & keep).sum())
        keep &= ~bad
    selection.ids, selection.series, selection.origin = (
        a[keep] for a in (selection.ids, selection.series, selection.origin)
    )
