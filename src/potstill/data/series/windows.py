"""Windows by arithmetic: a window id is a position in cumulative counts, from which series and origin are computed."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from typing import TYPE_CHECKING

import numpy as np

from potstill.data.permutation import splitmix64
from potstill.data.series.splits import SPLIT_PARTS, part_bounds
from potstill.data.series.store import Store
from potstill.errors import UnknownName, UserError
from potstill.recipe import SeriesData

if TYPE_CHECKING:
    from potstill.types import Windows

_LEAST_HISTORY = 16


class SeriesWindows:
    """All windows of one part of a store, as a map-style data set; memory grows with the series, not with the windows.

    A window is a context of C steps and a future of H steps, which is inside the part. Contexts reach back before the
    part, except in training, where nothing precedes it. If the part begins with the series and has at least C + H
    steps, all contexts are full. If it is shorter, contexts are padded with NaN on the left and have at least
    ``min(C, max(16, H))`` rows of history. Windows with few finite values in the context or none in the future are
    kept, so that ids stay contiguous; the loss masks them.

    With ``missing="drop"``, windows with any missing value (except padding) are left out: a series with gaps becomes
    stretches without gaps, which cost a few bytes each. With ``missing="impute"``, a context is filled forward, then
    backward (including padding); the future is never filled. With ``train_windows=n``, training keeps n windows, one
    from each of n equal ranges of ids.

    Parameters
    ----------
    store
        From ``open_store``.
    data
        Lengths, split, stride and the treatment of missing values.
    part
        ``train``, ``validation`` or ``test``.
    stride
        Steps between origins; default ``data.stride``.

    Attributes
    ----------
    bounds
        First row and end of the part in each series, from ``splits.part_bounds``.
    report
        The store's report, and the series and windows left out here.
    fingerprint
        sha256 over the store and all settings that decide which window an id refers to.
    """

    def __init__(self, store: Store, data: SeriesData, part: str, stride: int | None = None):
        self.store, self.part = store, part
        self.context_length, self.prediction_length = data.context_length, data.prediction_length
        self.stride, self.missing, self.split = stride or data.stride, data.missing, data.split
        self.report = store.training_report()
        self._series, self._first, counts = self._stretches(data)
        self._ends = np.concatenate([[0], np.cumsum(counts)])
        total = int(self._ends[-1])
        scarce = data.train_windows if part == "train" and (data.train_windows or total) < total else None
        self._all, self._n = total, scarce or total
        self.report.add_used(**{f"{part}_windows": self._n})
        lengths = [self.context_length, self.prediction_length, self.stride]
        parts = [store.fingerprint, *lengths, self.split, part, data.missing, data.target, scarce]
        parts += [sorted(store.train_only)] if store.train_only else []
        self.fingerprint = hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, i: int) -> Windows:
        """Window ``i`` as a batch of one."""
        return self.batch([i])

    def batch(self, ids: list[int] | np.ndarray) -> Windows:
        """The windows of these ids as one batch."""
        import torch

        from potstill.types import Windows

        ids = np.asarray(ids, dtype=np.int64)
        series, origin = self.locate(ids)
        rows = self._gather(series, origin)
        context, future = rows[:, : self.context_length], rows[:, self.context_length :]
        if self.missing == "impute":
            context = fill(context)
        windows = Windows(
            context=torch.from_numpy(np.ascontiguousarray(context)),
            future=torch.from_numpy(np.ascontiguousarray(future)),
            ids=torch.from_numpy(ids.copy()),
            series=torch.from_numpy(series),
            origin=torch.from_numpy(origin),
            dataset=torch.from_numpy(self.store.dataset_of[series].astype(np.int64)),
        )
        return self.store.completed(windows)

    __getitems__ = batch  # torch's DataLoader calls this name

    def locate(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Series and origin (the row of the first future step) of window ids; int64, the shape of ``ids``.

        Raises
        ------
        IndexError
            An id outside ``range(len(self))``.
        """
        ids = np.asarray(ids, dtype=np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= self._n):
            raise IndexError(f"window id out of range({self._n})")
        places = self._places(ids) if self._n < self._all else ids
        stretch = np.searchsorted(self._ends, places, side="right") - 1
        return self._series[stretch], self._first[stretch] + (places - self._ends[stretch]) * self.stride

    def of_dataset(self, name: str) -> np.ndarray:
        """Ids of the windows of one data set, int64 ascending."""
        if name not in self.store.datasets:
            raise UnknownName("data set", name, self.store.datasets)
        return np.arange(*self.range_of(self.store.datasets.index(name)), dtype=np.int64)

    def draw(self, name: str, most: int, seed: int = 0) -> np.ndarray:
        """At most ``most`` ids of one data set, drawn at random, ascending; memory does not grow with its windows."""
        low, high = self.range_of(self.store.datasets.index(name))
        if high - low <= most:
            return np.arange(low, high, dtype=np.int64)
        return low + np.sort(np.random.default_rng(seed).choice(high - low, most, replace=False))

    def range_of(self, dataset: int) -> tuple[int, int]:
        """First id of a data set's windows and the one after the last: a data set's ids are contiguous."""
        first, end = np.searchsorted(self.store.dataset_of[self._series], [dataset, dataset + 1])
        bounds = (int(self._ends[first]), int(self._ends[end]))
        if self._n == self._all:
            return bounds
        low, high = (bisect_left(range(self._n), b, key=lambda i: int(self._places(np.array([i]))[0])) for b in bounds)
        return low, high

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """At most ``n`` distinct ids, ascending: divided evenly over the data sets and spread evenly within each."""
        ranges = [self.range_of(d) for d in range(len(self.store.datasets))]
        shares = _share_out(n, [high - low for low, high in ranges])
        picked = [low + spread(high - low, share, seed) for (low, high), share in zip(ranges, shares, strict=True)]
        return np.concatenate([*picked, np.zeros(0, np.int64)])

    def _places(self, ids: np.ndarray) -> np.ndarray:
        """The positions of the ``train_windows`` kept windows among all windows."""
        return _strata(self._all, self._n, 0, ids)

    def _stretches(self, data: SeriesData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Series, first origin and number of windows of each stretch of origins with equal stride."""
        C, H = self.context_length, self.prediction_length
        self.bounds = start, end = part_bounds(self.store, data.split, self.part)
        least = _least_history(C, H)
        need = np.full(len(self.store), least)
        need[end - start >= C + H] = C
        first = np.where(start > 0, np.maximum(start, least), need)
        count = np.maximum((end - H - first) // self.stride + 1, 0)
        # windows made on the device are shorter where a series is; excerpts() reports what they leave out
        on_device = data.device is not None and self.part == "train"
        for i in np.flatnonzero((count == 0) & (end > start) & (not on_device)):
            why = f"its {self.part} part is too short for {need[i]} + {H} steps"
            self.report.add_dropped(self.store.names[i], why)
        series = np.flatnonzero(count)
        series = series[np.argsort(self.store.dataset_of[series], kind="stable")]  # a file may have several data sets
        first, count = first[series], count[series]
        if data.missing != "drop" or not self.store.missing[series].any():
            return series, first, count
        return self._without_gaps(series, first, count)

    def _without_gaps(
        self, series: np.ndarray, first: np.ndarray, count: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        parts, lost = [], 0
        for i, origin, n in zip(series.tolist(), first.tolist(), count.tolist(), strict=True):
            stretches = np.array([[origin, n]])
            if self.store.missing[i]:
                gaps = np.concatenate([[0], np.cumsum(np.isnan(self.store.series(i)))])
                origins = origin + np.arange(n) * self.stride
                whole = gaps[origins + self.prediction_length] == gaps[np.maximum(origins - self.context_length, 0)]
                stretches = _runs(whole)
                lost += n - int(stretches[:, 1].sum())
                stretches[:, 0] = origin + stretches[:, 0] * self.stride
            parts.append(np.column_stack([np.full(len(stretches), i), stretches]))
        self.report.add_dropped(f"{self.part} part", "missing values (missing: drop)", kind="windows", count=lost)
        series, first, count = np.concatenate(parts).astype(np.int64).T
        return series, first, count

    def _gather(self, series: np.ndarray, origin: np.ndarray) -> np.ndarray:
        """``[B, C + H]`` float32; rows before the start of the series are NaN."""
        length = self.context_length + self.prediction_length
        values, offsets = self.store.values, self.store.offsets
        begin = offsets[series] + origin - self.context_length
        full = origin >= self.context_length
        if full.all():
            return np.lib.stride_tricks.sliding_window_view(values, length)[begin]
        rows = np.full((len(series), length), np.nan, dtype=np.float32)
        if full.any():
            rows[full] = np.lib.stride_tricks.sliding_window_view(values, length)[begin[full]]
        for k in np.flatnonzero(~full):
            known = int(origin[k]) + self.prediction_length
            rows[k, length - known :] = values[offsets[series[k]] : offsets[series[k]] + known]
        return rows


def require_windows(windows: SeriesWindows) -> None:
    """Raise an error if a part has no window; the message names a horizon that fits every part, if there is one.

    Raises
    ------
    UserError
        The part has no window; the message lists the reasons of the report.
    """
    if len(windows):
        return
    if windows.store.barren:
        raise UserError(windows.store.barren, key="data.no_usable_series")
    store, start, end = windows.store, *windows.bounds
    why = "; ".join(windows.report.reasons()[:3])
    label = ", ".join(store.datasets[:3]) + (" …" if len(store.datasets) > 3 else "")
    fits = _longest_horizon(windows)
    remedy = f"set data.prediction_length to at most {fits}" if 0 < fits < windows.prediction_length else ""
    lengths = f"{windows.context_length} + {windows.prediction_length}"
    raise UserError(
        f"{label}: no usable window of {lengths} steps in the {windows.part} part of split {windows.split!r} "
        f"({int((end - start).max())} rows at most{f'; {why}' if why else ''}); "
        f"{remedy or 'choose another data.split'}, or use longer series.",
        key="data.no_usable_window",
    )


def _longest_horizon(windows: SeriesWindows) -> int:
    """The largest H with which every part has a window; 0 if there is none."""
    parts = [part_bounds(windows.store, windows.split, part) for part in SPLIT_PARTS]

    def fits(horizon: int) -> bool:
        history = _least_history(windows.context_length, horizon)
        return all((np.maximum(start, history) + horizon <= end).any() for start, end in parts)

    most = max(int((end - start).max()) for start, end in parts)
    return bisect_left(range(1, most + 1), True, key=lambda horizon: not fits(horizon))


def _least_history(context: int, horizon: int) -> int:
    """Rows of history that a window of a short series needs; the rest of its context is padded."""
    return min(context, max(_LEAST_HISTORY, horizon))


def fill(context: np.ndarray) -> np.ndarray:
    """``[B, C]`` with missing values filled forward, then backward; rows without any value stay as they are."""
    gaps = np.isnan(context)
    rows = np.flatnonzero(gaps.any(axis=1))
    if not len(rows):
        return context
    filled, known = context.copy(), ~gaps[rows]
    steps = np.arange(context.shape[1])
    last = np.maximum.accumulate(np.where(known, steps, -1), axis=1)
    source = np.where(last < 0, known.argmax(axis=1)[:, None], last)
    filled[rows] = np.take_along_axis(context[rows], source, axis=1)
    return filled


def spread(n: int, count: int, seed: int) -> np.ndarray:
    """``min(n, count)`` distinct numbers of range(n), ascending: one at a hashed position in each of equal ranges."""
    count = min(n, count)
    return _strata(n, count, seed, np.arange(count, dtype=np.int64))


def _strata(n: int, count: int, seed: int, which: np.ndarray) -> np.ndarray:
    """The numbers ``which`` of ``spread``. Quotient and remainder are used because ``which * n`` can overflow."""
    if not count:
        return np.zeros(0, np.int64)
    quotient, rest = divmod(n, count)
    low = which * quotient + which * rest // count
    high = (which + 1) * quotient + (which + 1) * rest // count
    noise = splitmix64(which.astype(np.uint64) + splitmix64(np.array([seed % 2**64], dtype=np.uint64)))
    return low + (noise % (high - low).astype(np.uint64)).astype(np.int64)


def _share_out(n: int, sizes: list[int]) -> list[int]:
    """Divide ``n`` equally, with no share above its size; what small ones cannot take goes to the others."""
    shares = [0] * len(sizes)
    order = sorted((i for i in range(len(sizes)) if sizes[i]), key=lambda i: sizes[i])
    for place, i in enumerate(order):
        shares[i] = min(sizes[i], -(-n // (len(order) - place)))
        n -= shares[i]
    return shares


def _runs(flags: np.ndarray) -> np.ndarray:
    """``[R, 2]`` first index and length of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return np.column_stack([edges[::2], edges[1::2] - edges[::2]])


def longest_horizons(store: Store, split: str, context_length: int) -> np.ndarray:
    """``[parts, S]`` int64: the largest H with which each part of each series has a window; -1 without rows there."""
    longest = []
    for part in SPLIT_PARTS:
        start, end = part_bounds(store, split, part)
        few = end - min(context_length, _LEAST_HISTORY)  # the inverse of _least_history, H at a time
        more = np.where(end // 2 <= context_length, np.maximum(end // 2, _LEAST_HISTORY), end - context_length)
        fits = np.where((few <= _LEAST_HISTORY) | (context_length <= _LEAST_HISTORY), few, more)
        longest.append(np.where(end > start, np.maximum(np.minimum(fits, end - start), 0), -1))
    return np.stack(longest)
