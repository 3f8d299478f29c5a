"""Which real window comes next in general training: balanced over data sets, or from a small pool of scarce data."""

from __future__ import annotations

from typing import Any

import numpy as np


class RealDraws:
    """Draws of real windows by uniform numbers, so that a hash of an id names its window.

    Parameters
    ----------
    windows
        The real windows (:class:`potstill.data.windows.SeriesWindows`): ``len``, ``locate``, ``store``.
    balance
        A data set is drawn in proportion to its number of windows to this power; within it every window is alike.
    pool
        Ids of the only windows that may be drawn (scarce data); default: all of them.
    """

    def __init__(self, windows: Any, balance: float, pool: np.ndarray | None = None) -> None:
        if len(windows) == 0:
            raise ValueError("there is no window to draw from")
        self.pool = pool
        if pool is None:
            first = _first_ids(windows)
            members, counts = windows.store.dataset_of, np.diff(first)
            self._first = first[:-1]
        else:
            members, counts = windows.store.dataset_of[windows.locate(pool)[0]], np.ones(len(pool), np.int64)
            self._first = np.asarray(pool)
        self._order = np.argsort(members, kind="stable")
        self._upto = np.concatenate([[0], np.cumsum(counts[self._order])])
        sizes = np.bincount(members, weights=counts, minlength=len(windows.store.datasets))
        self._from = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)
        self._sizes = sizes.astype(np.int64)
        weights = np.where(sizes > 0, np.maximum(sizes, 1) ** balance, 0.0)
        self._share = np.cumsum(weights) / weights.sum()

    def ids(self, dataset: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Real window ids ``[n]`` for two arrays of uniform numbers in [0, 1)."""
        chosen = np.searchsorted(self._share, dataset, side="right").clip(max=len(self._share) - 1)
        sizes = self._sizes[chosen]
        rank = self._from[chosen] + np.minimum((place * sizes).astype(np.int64), sizes - 1)
        unit = np.searchsorted(self._upto, rank, side="right") - 1
        return self._first[self._order[unit]] + rank - self._upto[unit]


def _first_ids(windows: Any) -> np.ndarray:
    """First window id of every series, and the number of windows: ids ascend with the series."""
    wanted = np.arange(len(windows.store.offsets), dtype=np.int64)
    low, high = np.zeros(len(wanted), np.int64), np.full(len(wanted), len(windows), np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        before = windows.locate(np.minimum(middle, len(windows) - 1))[0] < wanted
        before &= low < high
        low, high = np.where(before, middle + 1, low), np.where(before | (low >= high), high, middle)
    return low
