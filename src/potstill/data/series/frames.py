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
from potstill.data.series.readers import Sheet
from potstill.data.series.units import LARGEST_VALUE, in_store_units, only_rounding_errors
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ColumnSelection", "LacksTarget", "Series", "SeriesBlock", "no_usable_series", "series_block"]

_LEAST_VALUES = 3
CONSTANT = "constant"
TOO_FEW = f"fewer than {_LEAST_VALUES} values"
TOO_FINE = "changes that are not larger than rounding errors of double precision"


class Series(NamedTuple):
    """A cleaned series: name in the file, float32 values with NaN, first timestamp, position on the file's grid.

    ``skip`` is the reason why training leaves it out; it can still be forecast. The values are in the units of the
    store: ``loc + scale * values`` are the input.
    """

    name: str
    values: np.ndarray
    start: int
    first_row: int
    grid_rows: int
    skip: str = ""
    loc: float = 0.0
    scale: float = 1.0


@dataclass
class SeriesBlock:
    """All series of one file and their step. ``series`` can be iterated once, with one series in memory at a time.

    ``choices`` is explained in ``columns.Columns``.
    """

    columns: list[str]
    step: TimeStep
    regular: bool
    series: Iterator[Series]
    choices: list[str]


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
    return SeriesBlock(columns.values, grid.step, grid.regular, series, columns.choices)


def _ids(column: pa.ChunkedArray) -> tuple[np.ndarray, Sequence[str | None]]:
    """A code per row in order of first appearance, and the ids; rows without id get -1."""
    import pyarrow as pa

    pc = arrow_functions()

    encoded = pc.cast(column, pa.string()).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1), dtype=np.int64), encoded.dictionary.to_pylist()


def _series(
    sheet: Sheet, names: list[str], ids: Sequence[str | None], grid: Grid, file: str, report: DataReport
) -> Iterator[Series]:
    count = 0
    for column in names:
        values = _clean(sheet, column, file, report)[grid.rows]
        for k, identity in enumerate(ids):
            rows = slice(grid.bounds[k], grid.bounds[k + 1])
            name = column if identity is None else identity if len(names) == 1 else f"{identity}/{column}"
            series = _one(name, values[rows], grid, k, rows, f"{file}/{name}", report)
            if series is not None:
                count += 1
                yield series
    if not count:
        raise no_usable_series(sheet.label, report)


def no_usable_series(label: str, report: DataReport) -> UserError:
    """The error for a file whose series are all left out; the message lists the most frequent reasons."""
    reasons = "; ".join(report.reasons()[:3])
    return UserError(
        f"{label}: no usable series ({reasons}); use columns with varying numbers.", key="data.no_usable_series"
    )


def _one(
    name: str, values: np.ndarray, grid: Grid, k: int, rows: slice, label: str, report: DataReport
) -> Series | None:
    """Place values on the grid and trim missing values at both ends; None without any value."""
    length = int(grid.lengths[k])
    gridded = np.full(length, np.nan)
    gridded[grid.positions[rows]] = values
    known = np.flatnonzero(~np.isnan(gridded))
    if not len(known):
        report.add_dropped(label, "no values")
        return None
    first, last = int(known[0]), int(known[-1]) + 1
    gridded = gridded[first:last]
    start = int(grid.step.stamps(int(grid.starts[k]), first, 1).astype(np.int64)[0])
    stored = in_store_units(gridded)
    return Series(
        name, stored.values, start, first, length, _unlearnable(gridded, len(known)), stored.loc, stored.scale
    )


def _unlearnable(values: np.ndarray, known: int) -> str:
    """Why a series cannot be used for training, or an empty text; ``values`` are in input units."""
    if known < _LEAST_VALUES:
        return TOO_FEW
    if np.nanmin(values) == np.nanmax(values):
        return CONSTANT
    return TOO_FINE if only_rounding_errors(values) else ""


def _clean(sheet: Sheet, column: str, file: str, report: DataReport) -> np.ndarray:
    """A column as float64; infinities and values whose square is beyond float64 become missing."""
    values, unreadable = numeric(sheet, column)
    report.add_repaired("unreadable cells taken as missing", f"{file}/{column}", unreadable)
    infinite = np.isinf(values)
    huge = np.abs(values) > LARGEST_VALUE
    report.add_repaired("infinities taken as missing", f"{file}/{column}", int(infinite.sum()))
    report.add_repaired(
        f"values beyond {LARGEST_VALUE:g} taken as missing", f"{file}/{column}", int((huge & ~infinite).sum())
    )
    return np.where(huge, np.nan, values)
