"""Sampling of real windows: data sets are balanced, and windows within a data set are equally likely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from potstill.data.series.windows import SeriesWindows


class WindowSampler:
    """Map uniform random numbers to real windows, so that a hash of an id selects its window.

    Parameters
    ----------
    windows
        The real windows; a data set's ids are contiguous.
    balance
        A data set is drawn in proportion to its number of windows to this power; its windows are equally likely.
    """

    def __init__(self, windows: SeriesWindows, balance: float) -> None:
        ranges = [windows.range_of(dataset) for dataset in range(len(windows.store.datasets))]
        self._first, end = np.array([pair for pair in ranges if pair[0] < pair[1]], dtype=np.int64).reshape(-1, 2).T
        self._size = end - self._first
        weights = self._size.astype(np.float64) ** balance
        self._share = np.cumsum(weights) / weights.sum()

    def ids(self, dataset: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Real window ids ``[n]`` for two arrays of uniform numbers in [0, 1)."""
        chosen = np.searchsorted(self._share, dataset, side="right").clip(max=len(self._share) - 1)
        size = self._size[chosen]
        return self._first[chosen] + np.minimum((place * size).astype(np.int64), size - 1)
