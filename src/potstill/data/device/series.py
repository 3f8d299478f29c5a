"""Real series that are kept on the device, and windows of them.

Shapes: S series, V values of all series together, n windows, C context, H horizon, L = C + H steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from potstill.data.device.draws import Draws
from potstill.data.series.store import Store
from potstill.errors import UserError

MIN_VALUES = 16  # known values that a series needs
#: steps that one step of a window is the mean of; each is equally likely, for series with enough rows
AGGREGATIONS = (1, 1, 1, 1, 1, 2, 3, 4, 6, 12)
MIN_AGGREGATED = 400  # steps that are left of an aggregated series
FLIPPED = 0.1  # share of windows whose sign is changed
#: balanced sampling: powers of a data set's number of series and of their mean length, which counts up to LONG
SERIES_POWER, LENGTH_POWER, LONG = 0.6, 0.35, 20_000


class Drawn(NamedTuple):
    """Windows ``values [n, L]`` with NaN where nothing is known, their series ``[n]`` and origins ``[n]``."""

    values: Tensor
    series: Tensor
    origin: Tensor


class Excerpts(NamedTuple):
    """The rows that are trained on: of each series in turn, without missing values at either end.

    Attributes
    ----------
    values
        ``[V]`` float32, each series with mean 0 and deviation 1; NaN where missing.
    offsets
        ``[S + 1]`` int64: series i is ``values[offsets[i]:offsets[i + 1]]``.
    index
        ``[S]`` int64: the number of the series in the store.
    first_row
        ``[S]`` int64: the row of the store's series that is the first one here.
    """

    values: np.ndarray
    offsets: np.ndarray
    index: np.ndarray
    first_row: np.ndarray


def excerpts(
    store: Store, bounds: tuple[np.ndarray, np.ndarray], left_out: Callable[[str, str], None] = lambda *_: None
) -> Excerpts:
    """The training rows of a store.

    Parameters
    ----------
    bounds
        First row and end ``[S]`` of the training part in each series. Series with fewer than ``MIN_VALUES`` known
        values there, or constant ones, are left out.
    left_out
        Called with the name of each series that has a training part and is left out, and the reason.
    """
    parts, index, first_row = [], [], []
    for i, (start, end) in enumerate(zip(*(bound.tolist() for bound in bounds), strict=True)):
        x = store.series(i)[start:end].astype(np.float64)
        known = np.flatnonzero(np.isfinite(x))
        if len(known) < MIN_VALUES:
            if end > start:
                left_out(store.names[i], f"its train part has fewer than {MIN_VALUES} known values")
            continue
        x = x[known[0] : known[-1] + 1]
        mean, deviation = np.nanmean(x), np.nanstd(x)
        if deviation <= 1e-12 * np.nanmax(np.abs(x)):
            left_out(store.names[i], "its train part is constant")
            continue
        parts.append(((x - mean) / deviation).astype(np.float32))
        index.append(i)
        first_row.append(start + int(known[0]))
    lengths = np.array([len(x) for x in parts], dtype=np.int64)
    return Excerpts(
        np.concatenate(parts) if parts else np.zeros(0, np.float32),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array(index, dtype=np.int64),
        np.array(first_row, dtype=np.int64),
    )


def sampling_weights(lengths: np.ndarray, dataset: np.ndarray, sampling: str) -> np.ndarray:
    """The weight of each series ``[S]``, from their lengths and data sets ``[S]``.

    ``uniform``: all are equal. ``balanced``: a data set of n series with mean length l has
    ``n^0.6 · min(l, 20000)^0.35``, divided among its series in proportion to the square root of their lengths.
    """
    if sampling == "uniform":
        return np.ones(len(lengths))
    weights = np.zeros(len(lengths))
    for one in np.unique(dataset):
        members = dataset == one
        roots = np.sqrt(lengths[members])
        share = members.sum() ** SERIES_POWER * min(lengths[members].mean(), LONG) ** LENGTH_POWER
        weights[members] = share * roots / roots.sum()
    return weights


class ResidentSeries:
    """Series on a device. A window is in units of its series: mean 0 and deviation 1 over the training rows.

    Sums of the values before each row are kept in float64, so that a mean over any number of rows costs two reads.

    Parameters
    ----------
    store, bounds
        See :func:`excerpts`.
    sampling
        See :func:`sampling_weights`.
    group_size
        The most series that :meth:`columns` returns side by side; data sets with fewer are not used there.
    device
        Where the series are kept.

    Raises
    ------
    UserError
        No series can be used.
    """

    def __init__(
        self, store: Store, bounds: tuple[np.ndarray, np.ndarray], sampling: str, group_size: int, device: str
    ):
        found = excerpts(store, bounds)
        if not len(found.index):
            raise UserError(
                f"{', '.join(store.datasets[:3])}: no series has {MIN_VALUES} known values in its training part that"
                " are not all equal; use longer series.",
                key="data.no_usable_series",
            )
        lengths = np.diff(found.offsets)
        dataset = store.dataset_of[found.index].astype(np.int64)
        weights = sampling_weights(lengths, dataset, sampling)

        def there(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self.values, self.offsets = there(found.values), there(found.offsets[:-1])
        self.lengths, self.dataset = there(lengths), there(dataset)
        self.index, self.first_row = there(found.index), there(found.first_row)
        self.cumulative = there(np.cumsum(weights) / max(weights.sum(), 1e-300))
        known = ~np.isnan(found.values)
        self.sums = there(_sums(np.where(known, found.values, 0.0), found.offsets))
        self.counts = there(_sums(known, found.offsets).astype(np.int32))
        grid_row = store.first_row[found.index] + found.first_row
        self.grid_row = there(grid_row)
        kinds = np.stack([dataset, store.grid_rows[found.index]], axis=1)
        self.tables = [there(table) for table in _tables(kinds, max(group_size, 2))]
        self.aggregations = torch.tensor(AGGREGATIONS, device=device)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def has_columns(self) -> bool:
        """Whether some data set has enough series of one table for :meth:`columns`."""
        return len(self.tables[1]) > 0

    def draw(self, draws: Draws, count: int, context: int, horizon: int) -> Drawn:
        """Windows of random series at random origins, some of them aggregated, some with the opposite sign."""
        place = draws.uniform(count, dtype=torch.float64)
        series = torch.searchsorted(self.cumulative, place, right=True).clamp(max=len(self) - 1)
        steps = self.aggregations[draws.integers(0, len(AGGREGATIONS), count)]
        steps = torch.where(self.lengths[series] // steps >= MIN_AGGREGATED, steps, 1)
        rows = self.lengths[series] // steps
        origin = _origin(draws.uniform(count), rows, horizon)
        values = self._read(series, origin, steps, context, horizon)
        sign = torch.where(draws.chance(FLIPPED, count, 1), -1.0, 1.0)
        return Drawn(values * sign, self.index[series], self.first_row[series] + origin * steps)

    def columns(self, draws: Draws, count: int, size: int, context: int, horizon: int) -> Drawn:
        """Windows of ``size`` different series of one table at the same time, ``count`` tables after one another."""
        orders, begin, members = self.tables
        table = draws.integers(0, len(members), count, 1)
        start = (draws.uniform(count, 1) * members[table]).long()
        place = begin[table] + (start + torch.arange(size, device=start.device)) % members[table]
        order = draws.integers(0, len(orders), count, 1)
        series = orders[order, place]
        first = self.grid_row[series].amax(dim=1, keepdim=True)
        last = (self.grid_row[series] + self.lengths[series]).amin(dim=1, keepdim=True)
        origin = first + _origin(draws.uniform(count, 1), (last - first).clamp(min=1), horizon)
        origin, series = (origin - self.grid_row[series]).flatten(), series.flatten()
        values = self._read(series, origin, torch.ones_like(origin), context, horizon)
        return Drawn(values, self.index[series], self.first_row[series] + origin)

    def _read(self, series: Tensor, origin: Tensor, steps: Tensor, context: int, horizon: int) -> Tensor:
        """``[n, L]``: step j of a window at ``origin`` is the mean of the known values in ``steps`` rows."""
        step = origin[:, None] + torch.arange(-context, horizon, device=origin.device)
        length, offset, steps = (x[:, None] for x in (self.lengths[series], self.offsets[series], steps))
        inside = (step >= 0) & (step < length // steps)
        row = (step * steps).minimum(length - steps).clamp(min=0)
        single = self.values[offset + row]
        before = offset + series[:, None] + row  # each series has one more sum than values
        count = self.counts[before + steps] - self.counts[before]
        mean = ((self.sums[before + steps] - self.sums[before]) / count).float()  # 0 / 0 is NaN: nothing is known
        # a difference of sums rounds; a single value must not
        return torch.where(steps == 1, single, mean).masked_fill(~inside, torch.nan)


def _origin(place: Tensor, rows: Tensor, horizon: int) -> Tensor:
    """Origins in series of ``rows`` steps, from uniform numbers; short series have shorter histories and futures."""
    least = torch.minimum(torch.full_like(rows, 24), rows // 3).clamp(min=4)
    ahead = torch.minimum(torch.full_like(rows, horizon), (rows // 4).clamp(min=1))
    return least + (place * (rows - ahead - least).clamp(min=1)).long()


def _sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """``[V + S]``: for each series 0 and the running sums of its values, in float64."""
    sums = np.zeros(len(values) + len(offsets) - 1)
    for i, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        np.cumsum(values[start:end], dtype=np.float64, out=sums[start + i + 1 : end + i + 1])
    return sums


ORDERS = 32  # random orders of the columns of a table


def _tables(kinds: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Series with equal ``kinds [S, 2]`` (data set, rows of its grid) are columns of one table.

    Returns
    -------
    tuple
        Random orders ``[ORDERS, M]`` of the series of all tables, table after table; begin ``[T]`` and number ``[T]``
        of each table's series. Tables with fewer than ``size`` series are left out.
    """
    _, table = np.unique(kinds, axis=0, return_inverse=True)
    members = [np.flatnonzero(table == one) for one in range(int(table.max(initial=-1)) + 1)]
    members = [series for series in members if len(series) >= size]
    rng = np.random.default_rng(0)
    orders = [np.concatenate([*map(rng.permutation, members), np.zeros(0, np.int64)]) for _ in range(ORDERS)]
    sizes = np.array([len(series) for series in members], dtype=np.int64)
    return np.stack(orders).astype(np.int64), np.cumsum(sizes) - sizes, sizes
