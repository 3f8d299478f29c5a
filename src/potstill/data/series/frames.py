"""Split a table into series: pick columns, sort rows, place them on a time grid; every repair is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.calendar import TimeStep
from potstill.data.series.columns import ColumnSelection, LacksTarget, pick_columns
from potstill.data.series.grid import Grid, lay_out
from potstill.data.series.identity import codes_and_names
from potstill.data.series.numbers import numeric
from potstill.data.series.sheet import Sheet
from potstill.errors import UserError

__all__ = ["ColumnSelection", "LacksTarget", "Series", "SeriesBlock", "no_usable_series", "series_block"]

_LEAST_VALUES = 3
CONSTANT = "constant"
TOO_FEW = f"fewer than {_LEAST_VALUES} values"
TOO_FINE = "changes too small for single precision compared with its size"
_COARSE = 0.01  # of a series' range: a rounding error of this size is reported
_LARGEST = float(np.finfo(np.float32).max)


class Series(NamedTuple):
    """A cleaned series: name in the file, float32 values with NaN, first timestamp, position on the file's grid.

    ``skip`` is the reason why training leaves it out; it can still be forecast.
    """

    name: str
    values: np.ndarray
    start: int
    first_row: int
    grid_rows: int
    skip: str = ""


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
    codes, ids = np.zeros(len(sheet.table), np.int64), [None]
    if columns.ids is not None:
        codes, ids, _ = codes_and_names(columns.ids)
    grid = lay_out(columns.times, codes, len(ids), name, report)
    series = _series(sheet, columns.values, ids, grid, name, report)
    return SeriesBlock(columns.values, grid.step, grid.regular, series, columns.choices)


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
    gridded = np.full(length, np.nan, dtype=np.float32)
    gridded[grid.positions[rows]] = values
    known = np.flatnonzero(~np.isnan(gridded))
    if not len(known):
        report.add_dropped(label, "no values")
        return None
    first, last = int(known[0]), int(known[-1]) + 1
    gridded = gridded[first:last]
    report.add_repaired(
        "series rounded: their changes are small compared with single precision", label, _coarse(gridded, values)
    )
    start = int(grid.step.stamps(int(grid.starts[k]), first, 1).astype(np.int64)[0])
    return Series(name, gridded, start, first, length, _unlearnable(gridded, values, len(known)))


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
    if len(unreadable):
        first = f"{sheet.place(int(unreadable[0]))}: {str(sheet.table[column][unreadable[0]].as_py())[:40]!r}"
        report.add_repaired("unreadable cells taken as missing", f"{file}/{column} (first: {first})", len(unreadable))
    infinite = np.isinf(values)
    huge = np.abs(values) > _LARGEST
    report.add_repaired("infinities taken as missing", f"{file}/{column}", int(infinite.sum()))
    report.add_repaired("values beyond float32 taken as missing", f"{file}/{column}", int((huge & ~infinite).sum()))
    return np.where(huge, np.nan, values)
