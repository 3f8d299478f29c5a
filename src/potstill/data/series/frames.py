"""Split a table into series: pick columns, sort rows, place them on a time grid; every repair is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.columns import ColumnSelection, LacksTarget, pick_columns
from potstill.data.series.covariates import CovariateNames, codes_of
from potstill.data.series.day_order import settle
from potstill.data.series.grid import Grid, lay_out
from potstill.data.series.identity import codes_and_names
from potstill.data.series.keys import TableKeys, ids_of_series, table_keys
from potstill.data.series.numbers import is_numeric, numeric
from potstill.data.series.sheet import Sheet
from potstill.data.series.steps import StepGroups
from potstill.data.series.store_units import LARGEST_VALUE, in_store_units, only_rounding_errors
from potstill.data.series.times import Times
from potstill.data.series.zones import stamps
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ColumnSelection", "LacksTarget", "Series", "SeriesBlock", "no_usable_series", "series_block"]

_LEAST_VALUES = 3
CONSTANT = "constant"
NO_VALUES = "no values"
TOO_FEW = f"fewer than {_LEAST_VALUES} values"
TOO_FINE = "changes that are not larger than rounding errors of double precision"

LARGEST_COVARIATE = float(np.finfo(np.float32).max)


class Series(NamedTuple):
    """A cleaned series: name in the file, float32 values with NaN, first timestamp, position on the file's grid.

    The values are in the units of the store: ``loc + scale * values`` are the input. ``group`` is its group of equal
    steps. ``skip`` is the reason why training leaves it out; it can still be forecast. ``identity`` is its row of the
    block's ``ids``, ``column`` its value column. ``covariates`` ``[K, L]`` begin where the series begins, and end where
    its grid ends. A series without any value has no rows.
    """

    name: str
    values: np.ndarray
    start: int
    first_row: int
    grid_rows: int
    group: int
    skip: str
    identity: int
    column: str
    loc: float = 0.0
    scale: float = 1.0
    covariates: np.ndarray | None = None


@dataclass
class SeriesBlock:
    """All series of one file and their steps. ``series`` can be iterated once, with one series in memory at a time.

    ``choices`` is explained in ``columns.Columns``. ``covariates`` are those of the file, and ``categories`` has the
    number of categories of each that is text. ``keys`` and ``ids`` identify the series in the user's table.
    """

    columns: list[str]
    groups: StepGroups
    series: Iterator[Series]
    choices: list[str]
    covariates: list[str]
    categories: dict[str, int]
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
    covariates = [column for column in selection.covariates.all if column in sheet.table.column_names]
    columns = pick_columns(sheet.without(covariates), name, selection, report)
    codes, ids = np.zeros(len(sheet.table), np.int64), [None]
    if columns.ids is not None:
        codes, ids, _ = codes_and_names(columns.ids)
    choices = [*settled(columns.times, codes, name, report), *columns.choices]
    grid = lay_out(columns.times, codes, len(ids), name, report, selection.freq)
    keys = table_keys(sheet, columns.identity, columns.values, columns.time, columns.times)
    covariate_values, categories = _covariate_values(sheet, selection.covariates, covariates, grid, name, report)
    series = _series(sheet, columns.values, ids, grid, keys.zone, name, report, covariate_values)
    identities = ids_of_series(sheet, columns.identity, codes)
    return SeriesBlock(columns.values, grid.groups, series, choices, covariates, categories, keys, identities)


def settled(times: Times | None, codes: np.ndarray, name: str, report: DataReport) -> list[str]:
    """Settle the order of day and month, now that the series are known, and note how dates were read."""
    if times is None:
        return []
    if times.form:
        report.add_note(f"{name}: numbers in column {times.name!r} are read as {times.form}")
    if times.zone:
        report.add_note(f"{name}: times are in time zone {times.zone}")
    other = settle(times, codes)
    if other:
        report.add_note(
            f"{name}: dates in column {times.name!r} fit both {times.order} and {other}; {times.order} was used. Set"
            " --date-format, such as %d/%m/%Y, if that is wrong"
        )
    return [f"dates: {times.order}"] if times.order else []


def _covariate_values(
    sheet: Sheet, names: CovariateNames, present: list[str], grid: Grid, file: str, report: DataReport
) -> tuple[np.ndarray | None, dict[str, int]]:
    """Covariates ``[K, N]`` of the grid's rows, and the number of categories by column of text; None without any."""
    import pyarrow as pa

    if not len(names):
        return None, {}
    found, categories = np.full((len(names), len(grid.rows)), np.nan, np.float32), {}
    k = int(np.argmax(np.diff(grid.bounds)))
    longest = slice(grid.bounds[k], grid.bounds[k + 1])
    for place, column in enumerate(names.all):
        if column not in present:
            continue
        cells = sheet.table[column]
        if is_numeric(sheet, column):
            found[place] = _clean(sheet, column, file, report, LARGEST_COVARIATE)[grid.rows]
            continue
        known: dict[str | None, int] = {}
        if pa.types.is_string(cells.type):
            found[place] = codes_of(cells.to_pylist(), known)[grid.rows]
        check_categories(sheet, column, known, found[place, longest])
        categories[column] = len(known)
    return found, categories


def check_categories(sheet: Sheet, column: str, known: dict[str | None, int], own: np.ndarray) -> None:
    """Refuse a covariate without numbers or categories; ``own`` are its numbers of categories in the longest series.

    Raises
    ------
    UserError
        Of dates or names of rows, no category says anything of the target.
    """
    if not known or len(np.unique(own)) > max(len(own) / 2, 2):
        raise UserError(
            f"{sheet.label}: column {column!r} of data.known or data.past has neither numbers nor categories"
            f" (such as {str(sheet.table[column][0].as_py())!r}); name another one, or write what matters of it, such"
            " as the weekday, into a column.",
            key="data.covariate_without_categories",
        )


def _series(
    sheet: Sheet,
    names: list[str],
    ids: Sequence[str | None],
    grid: Grid,
    zone: str,
    file: str,
    report: DataReport,
    covariate_values: np.ndarray | None,
) -> Iterator[Series]:
    for column in names:
        values = _clean(sheet, column, file, report)[grid.rows]
        for k, identity in enumerate(ids):
            rows = slice(grid.bounds[k], grid.bounds[k + 1])
            name = column if identity is None else identity if len(names) == 1 else f"{identity}/{column}"
            series = one(name, column, values[rows], grid, k, rows, zone)
            yield (
                series
                if covariate_values is None
                else series._replace(covariates=placed(covariate_values, grid, k, series))
            )


def placed(covariate_values: np.ndarray, grid: Grid, k: int, series: Series) -> np.ndarray:
    """Covariates ``[K, L]`` of series k on its grid, from the first row of the series on."""
    rows = slice(grid.bounds[k], grid.bounds[k + 1])
    gridded = np.full((len(covariate_values), int(grid.lengths[k])), np.nan, np.float32)
    gridded[:, grid.positions[rows]] = covariate_values[:, rows]
    return gridded[:, series.first_row :]


def no_usable_series(label: str, report: DataReport) -> UserError:
    """The error for a file whose series are all left out; the message lists the most frequent reasons."""
    reasons = "; ".join(report.reasons()[:3])
    return UserError(
        f"{label}: no usable series ({reasons}); use columns with varying numbers.", key="data.no_usable_series"
    )


def one(
    name: str,
    column: str,
    values: np.ndarray,
    grid: Grid,
    k: int,
    rows: slice,
    zone: str,
) -> Series:
    """Place values on the grid and trim missing values at both ends."""
    length, group = int(grid.lengths[k]), int(grid.groups.group_of[k])
    gridded = np.full(length, np.nan)
    gridded[grid.positions[rows]] = values
    known = np.flatnonzero(~np.isnan(gridded))
    if not len(known):
        return Series(name, gridded[:0].astype(np.float32), int(grid.starts[k]), 0, length, group, NO_VALUES, k, column)
    first, last = int(known[0]), int(known[-1]) + 1
    gridded = gridded[first:last]
    start = int(stamps(grid.step(k), zone, int(grid.starts[k]), first, 1).astype(np.int64)[0])
    stored, skip = in_store_units(gridded), _unlearnable(gridded, len(known))
    return Series(name, stored.values, start, first, length, group, skip, k, column, stored.loc, stored.scale)


def _unlearnable(values: np.ndarray, known: int) -> str:
    """Why a series cannot be used for training, or an empty text; ``values`` are in input units."""
    if known < _LEAST_VALUES:
        return TOO_FEW
    if np.nanmin(values) == np.nanmax(values):
        return CONSTANT
    return TOO_FINE if only_rounding_errors(values) else ""


def _clean(sheet: Sheet, column: str, file: str, report: DataReport, largest: float = LARGEST_VALUE) -> np.ndarray:
    """A column as float64; infinities and magnitudes above ``largest`` become missing."""
    values, unreadable = numeric(sheet, column)
    repairs = ValueRepairs(largest)
    repairs.unreadable(sheet, column, unreadable)
    values = repairs.clean(values)
    repairs.report(f"{file}/{column}", sheet, report)
    return values


@dataclass
class ValueRepairs:
    """How many values of a column became missing, and the first cell that is no number: its place and its text.

    ``largest`` is the largest magnitude: the square of a target must be within float64, covariates are float32.
    """

    largest: float = LARGEST_VALUE
    text: int = 0
    infinite: int = 0
    huge: int = 0
    first: tuple[int, str] = (0, "")

    def unreadable(self, sheet: Sheet, column: str, rows: np.ndarray, before: int = 0) -> None:
        """Count rows without a number; ``before`` is the row of the file that precedes the sheet."""
        if len(rows) and not self.text:
            self.first = before + int(rows[0]), repr(str(sheet.table[column][rows[0]].as_py())[:40])
        self.text += len(rows)

    def clean(self, values: np.ndarray) -> np.ndarray:
        """Values without those that cannot be used."""
        infinite, huge = np.isinf(values), np.abs(values) > self.largest
        self.infinite += int(infinite.sum())
        self.huge += int((huge & ~infinite).sum())
        return np.where(huge, np.nan, values)

    def report(self, where: str, sheet: Sheet, report: DataReport) -> None:
        """Count the repairs of a column; ``sheet`` knows the places of rows."""
        first = f"{where} (first: {sheet.place_in_file(self.first[0])}: {self.first[1]})"
        report.add_repaired("unreadable cells taken as missing", first, self.text)
        report.add_repaired("infinities taken as missing", where, self.infinite)
        report.add_repaired(f"values beyond {self.largest:.3g} taken as missing", where, self.huge)
