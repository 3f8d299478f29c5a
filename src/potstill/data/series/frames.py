"""Split a table into series: pick columns, sort rows, place them on a time grid; every repair is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.calendar import TimeStep
from potstill.data.series.columns import ColumnSelection, LacksTarget, numeric, pick_columns
from potstill.data.series.grid import Grid, lay_out
from potstill.data.series.keys import TableKeys, ids_of_series, table_keys
from potstill.data.series.readers import Sheet
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ColumnSelection", "LacksTarget", "Series", "SeriesBlock", "no_usable_series", "series_block"]

_LEAST_VALUES = 3
CONSTANT = "constant"
NO_VALUES = "no values"
TOO_FEW = f"fewer than {_LEAST_VALUES} values"
TOO_FINE = "changes too small for single precision compared with its size"
_COARSE = 0.01  # of a series' range: a rounding error of this size is reported
_LARGEST = float(np.finfo(np.float32).max)


class Series(NamedTuple):
    """A cleaned series: name in the file, float32 values with NaN, first timestamp, position on the file's grid.

    ``skip`` is the reason why training leaves it out; it can still be forecast. ``identity`` is its row of the block's
    ``ids``, ``column`` its value column. A series without any value has no rows.
    """

    name: str
    values: np.ndarray
    start: int
    first_row: int
    grid_rows: int
    skip: str
    identity: int
    column: str


@dataclass
class SeriesBlock:
    """All series of one file and their step. ``series`` can be iterated once, with one series in memory at a time.

    ``choices`` is explained in ``columns.Columns``. ``keys`` and ``ids`` identify the series in the user's table.
    """

    columns: list[str]
    step: TimeStep
    regular: bool
    series: Iterator[Series]
    choices: list[str]
    keys: TableKeys
    ids: pa.Table


def series_block(sheet: Sheet, name: str, selection: ColumnSelection, report: DataReport) -> SeriesBlock:
    """Find time, ids and values in a table, and place the sorted rows on the grid of its step.

    Wide tables have one series per numeric column, long ones (``unique_id, ds, y`` or ``item_id, timestamp, target``)
    one per id.

    Raises
    ------
    LacksTarget
        The file has none of the target columns.
    UserError
        The time column cannot be read, or no column is numeric; the message names file and row.
    """
    columns = pick_columns(sheet, name, selection, report)
    codes, ids = _ids(columns.ids) if columns.ids is not None else (np.zeros(len(sheet.table), np.int64), [None])
    grid = lay_out(columns.times, codes, len(ids), name, report)
    series = _series(sheet, columns.values, ids, grid, name, report)
    keys = table_keys(sheet, columns.identity, columns.values, columns.time, columns.times)
    values = ids_of_series(sheet, columns.identity, codes)
    return SeriesBlock(columns.values, grid.step, grid.regular, series, columns.choices, keys, values)


def _ids(column: pa.ChunkedArray) -> tuple[np.ndarray, Sequence[str | None]]:
    """A code per row in order of first appearance, and the ids; rows without id get -1."""
    import pyarrow as pa

    pc = arrow_functions()

    encoded = pc.cast(column, pa.string()).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1), dtype=np.int64), encoded.dictionary.to_pylist()


def _series(
    sheet: Sheet, names: list[str], ids: Sequence[str | None], grid: Grid, file: str, report: DataReport
) -> Iterator[Series]:
    for column in names:
        values = _clean(sheet, column, file, report)[grid.rows]
        for k, identity in enumerate(ids):
            rows = slice(grid.bounds[k], grid.bounds[k + 1])
            name = column if identity is None else identity if len(names) == 1 else f"{identity}/{column}"
            yield _one(name, column, values[rows], grid, k, rows, f"{file}/{name}", report)


def no_usable_series(label: str, report: DataReport) -> UserError:
    """The error for a file whose series are all left out; the message lists the most frequent reasons."""
    reasons = "; ".join(report.reasons()[:3])
    return UserError(
        f"{label}: no usable series ({reasons}); use columns with varying numbers.", key="data.no_usable_series"
    )


def _one(
    name: str, column: str, values: np.ndarray, grid: Grid, k: int, rows: slice, label: str, report: DataReport
) -> Series:
    """Place values on the grid and trim missing values at both ends."""
    length = int(grid.lengths[k])
    gridded = np.full(length, np.nan, dtype=np.float32)
    gridded[grid.positions[rows]] = values
    known = np.flatnonzero(~np.isnan(gridded))
    if not len(known):
        return Series(name, gridded[:0], int(grid.starts[k]), 0, length, NO_VALUES, k, column)
    first, last = int(known[0]), int(known[-1]) + 1
    gridded = gridded[first:last]
    report.add_repaired(
        "series rounded: their changes are small compared with single precision", label, _coarse(gridded, values)
    )
    start = int(grid.step.stamps(int(grid.starts[k]), first, 1).astype(np.int64)[0])
    return Series(name, gridded, start, first, length, _unlearnable(gridded, values, len(known)), k, column)


def _unlearnable(gridded: np.ndarray, exact: np.ndarray, known: int) -> str:
    """Why a series cannot be used for training, or an empty text; ``exact`` are its values before rounding."""
    if known < _LEAST_VALUES:
        return TOO_FEW
    if np.nanmin(gridded) < np.nanmax(gridded):
        return ""
    return CONSTANT if np.nanmin(exact) == np.nanmax(exact) else TOO_FINE


def _coarse(gridded: np.ndarray, exact: np.ndarray) -> bool:
    """Whether rounding to float32 moves some value by a hundredth of the range or more."""
    spread = np.nanmax(exact) - np.nanmin(exact)
    largest = max(abs(np.nanmin(gridded)), abs(np.nanmax(gridded)))
    if spread == 0 or np.spacing(largest) < 2 * _COARSE * spread:  # rounding is off by at most half a spacing
        return False
    return bool(np.nanmax(np.abs(exact - exact.astype(np.float32))) >= _COARSE * spread)


def _clean(sheet: Sheet, column: str, file: str, report: DataReport) -> np.ndarray:
    """A column as float64; infinities and values beyond float32 become missing."""
    values, unreadable = numeric(sheet, column)
    report.add_repaired("unreadable cells taken as missing", f"{file}/{column}", unreadable)
    infinite = np.isinf(values)
    huge = np.abs(values) > _LARGEST
    report.add_repaired("infinities taken as missing", f"{file}/{column}", int(infinite.sum()))
    report.add_repaired("values beyond float32 taken as missing", f"{file}/{column}", int((huge & ~infinite).sum()))
    return np.where(huge, np.nan, values)
