"""A table into series: which columns, in which order, on which grid of time; every repair is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.calendar import Step
from potstill.data.series.columns import LacksTarget, Wanted, numeric, pick_columns
from potstill.data.series.grid import Grid, lay_out
from potstill.data.series.readers import Sheet
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Block", "LacksTarget", "Series", "Wanted", "block_of"]

_LEAST_VALUES = 3
_LARGEST = float(np.finfo(np.float32).max)


class Series(NamedTuple):
    """A cleaned series: name inside the file, float32 values with NaN, first stamp, its place on the file's grid."""

    name: str
    values: np.ndarray
    start: int
    first_row: int
    grid_rows: int


@dataclass
class Block:
    """All series of one file and the step they share; ``series`` is read once, one series in memory at a time."""

    columns: list[str]
    step: Step
    regular: bool
    series: Iterator[Series]


def block_of(sheet: Sheet, name: str, wanted: Wanted, report: DataReport) -> Block:
    """Find time, ids and values in a table, sort and lay the rows out on the grid of its step.

    Wide tables give one series per numeric column, long ones (``unique_id, ds, y`` or ``item_id, timestamp, target``)
    one per id.

    Raises
    ------
    LacksTarget
        None of the target columns is there.
    UserError
        Time that cannot be read, or no numeric column; the sentence names file and row.
    """
    columns = pick_columns(sheet, name, wanted, report)
    codes, ids = _ids(columns.ids) if columns.ids is not None else (np.zeros(len(sheet.table), np.int64), [None])
    grid = lay_out(columns.times, codes, len(ids), name, report)
    return Block(columns.values, grid.step, grid.regular, _series(sheet, columns.values, ids, grid, name, report))


def _ids(column: pa.ChunkedArray) -> tuple[np.ndarray, Sequence[str | None]]:
    """A code per row in order of first appearance, and the ids; rows without id get -1."""
    import pyarrow as pa

    pc = arrow_functions()

    encoded = pc.cast(column, pa.string()).combine_chunks().dictionary_encode()
    return np.asarray(encoded.indices.fill_null(-1), dtype=np.int64), encoded.dictionary.to_pylist()


def _series(
    sheet: Sheet, names: list[str], ids: Sequence[str | None], grid: Grid, file: str, report: DataReport
) -> Iterator[Series]:
    found = 0
    for column in names:
        values = _clean(sheet, column, file, report)[grid.rows]
        for k, identity in enumerate(ids):
            rows = slice(grid.bounds[k], grid.bounds[k + 1])
            name = column if identity is None else identity if len(names) == 1 else f"{identity}/{column}"
            series = _one(name, values[rows], grid, k, rows, f"{file}/{name}", report)
            if series is not None:
                found += 1
                yield series
    if not found:
        raise UserError(
            f"{sheet.label}: no usable series ({'; '.join(report.reasons()[:3])}); give it varying numbers."
        )


def _one(
    name: str, values: np.ndarray, grid: Grid, k: int, rows: slice, label: str, report: DataReport
) -> Series | None:
    """Scatter onto the grid, trim the missing edges, and drop what nothing can be learnt from."""
    length = int(grid.lengths[k])
    laid = np.full(length, np.nan, dtype=np.float32)
    laid[grid.positions[rows]] = values
    known = np.flatnonzero(~np.isnan(laid))
    if len(known) < _LEAST_VALUES:
        report.add_dropped(label, "no values" if not len(known) else f"fewer than {_LEAST_VALUES} values")
        return None
    first, last = int(known[0]), int(known[-1]) + 1
    laid = laid[first:last]
    if np.nanmin(laid) == np.nanmax(laid):
        report.add_dropped(label, "constant")
        return None
    start = int(grid.step.stamps(int(grid.starts[k]), first, 1).astype(np.int64)[0])
    return Series(name, laid, start, first, length)


def _clean(sheet: Sheet, column: str, file: str, report: DataReport) -> np.ndarray:
    """A column as float32: infinities and what float32 cannot hold become missing."""
    values, unreadable = numeric(sheet, column)
    report.add_repaired("unreadable cells taken as missing", f"{file}/{column}", unreadable)
    infinite = np.isinf(values)
    huge = np.abs(values) > _LARGEST
    report.add_repaired("infinities taken as missing", f"{file}/{column}", int(infinite.sum()))
    report.add_repaired("values beyond float32 taken as missing", f"{file}/{column}", int((huge & ~infinite).sum()))
    values = np.where(huge, np.nan, values)
    return values.astype(np.float32)
