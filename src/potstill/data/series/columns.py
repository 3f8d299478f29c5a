"""Decide which column is the time, which one has ids, and which have numbers to forecast."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.covariates import CovariateNames
from potstill.data.series.identity import find_identity, may_be_ids
from potstill.data.series.readers import Sheet
from potstill.data.series.time_columns import find_time
from potstill.data.series.times import Times
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ID_NAMES = ("unique_id", "item_id")
VALUE_NAMES = ("y", "target")
_COUNTERS = ("", "id", "index", "idx", "row", "row_id", "rowid", "unnamed: 0", "__index_level_0__")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$"


class LacksTarget(UserError):
    """A file has none of the target columns as numbers; the message lists its numeric columns."""

    key = "data.no_such_target"

    def __init__(self, label: str, target: list[str], known: list[str], present: list[str]):
        text = [column for column in target if column in present]
        what = f"column {text[0]!r} contains no numbers" if text else f"no column {' or '.join(map(repr, target))}"
        super().__init__(f"{label}: {what}; numeric columns: {', '.join(known) or 'none'}.")


class ColumnSelection(NamedTuple):
    """Which columns to use, and how to read time.

    Attributes
    ----------
    target, first
        The numeric columns: the target columns, else a file's first one if ``first``, else all but the covariates.
    covariates
        Columns that help to forecast.
    time_column, date_format, freq
        The time column, the format of its dates (as for ``strptime``), and the alias of the step of all series; None:
        found from the data.
    """

    target: list[str] | None = None
    first: bool = False
    covariates: CovariateNames = CovariateNames()
    time_column: str | None = None
    date_format: str | None = None
    freq: str | None = None


class Columns(NamedTuple):
    """The times (None without a time column), the id column (None in a wide table), the names of the value columns.

    ``choices`` lists ambiguous decisions, such as the order of day and month. Another version may decide differently,
    so they are part of the data's fingerprint.
    """

    times: Times | None
    ids: pa.ChunkedArray | None
    values: list[str]
    choices: list[str]


def pick_columns(sheet: Sheet, name: str, selection: ColumnSelection, report: DataReport) -> Columns:
    """Sort a table's columns into time, ids and values; the report lists the columns left out.

    Raises
    ------
    LacksTarget, UserError
        See ``frames.series_block``.
    """
    target = selection.target
    lower = {column.strip().lower(): column for column in reversed(sheet.table.column_names)}
    identity = next((lower[n] for n in ID_NAMES if n in lower), None)
    taken, times = find_time(sheet, identity, target, selection.time_column, selection.date_format, name, report)
    rest = [c for c in sheet.table.column_names if c not in {*taken, identity}]
    numbers = [c for c in rest if is_numeric(sheet, c)]
    candidates = [c for c in rest if c not in (target or ()) and may_be_ids(sheet, c, c in numbers)]
    candidates = [
        c for c in candidates if c not in numbers[:1] or len(numbers) > 1
    ]  # a single numeric column is the value to forecast
    declared, identity = identity, find_identity(sheet, times, identity, candidates, name, report)
    rest, numbers = [[c for c in columns if c != identity] for columns in (rest, numbers)]
    empty = [c for c in rest if sheet.table[c].null_count == len(sheet.table)]
    for column in rest:
        if column not in numbers:
            why = "no values" if column in empty else "no numbers"
            report.add_dropped(f"{name}/{column or '(unnamed)'}", why, kind="columns")
    if target:
        values = [c for c in target if c in numbers]
        if not values:
            raise LacksTarget(sheet.label, target, numbers, sheet.table.column_names)
    else:
        named = [lower[n] for n in VALUE_NAMES if identity is not None and lower.get(n) in numbers][:1]
        values = named or _drop_counters(sheet, numbers, name, report)
        for column in values[1:] if selection.first else ():
            report.add_dropped(f"{name}/{column}", "not the first column of numbers", kind="columns")
        values = values[:1] if selection.first else values
    for column in numbers if identity is not None else ():
        if column not in values:
            report.add_dropped(f"{name}/{column}", "not the target", kind="columns")
    if not values and empty and len(empty) == len(rest):
        raise UserError(
            f"{sheet.label}: every value is missing in {_listed(empty)}; add a column with numbers.",
            key="data.no_values",
        )
    if not values and numbers:
        raise UserError(
            f"{sheet.label}: every numeric column contains row numbers or ids ({_listed(numbers)}); add another"
            " column, or name one with --target.",
            key="data.only_row_numbers",
        )
    if not values:
        raise UserError(
            f"{sheet.label}: no numeric column to forecast; add at least one column of numbers.",
            key="data.no_numeric_column",
        )
    choices = [f"ids: {identity}"] if identity != declared else []
    return Columns(times, sheet.table[identity] if identity is not None else None, values, choices)


def _listed(columns: list[str]) -> str:
    return ", ".join(map(repr, columns[:3])) + (" …" if len(columns) > 3 else "")


def numeric(sheet: Sheet, column: str) -> tuple[np.ndarray, int]:
    """A column as float64 with NaN where missing, and the number of filled cells without a number."""
    import pyarrow as pa

    pc = arrow_functions()

    cells = sheet.table[column]
    if not pa.types.is_string(cells.type):
        return np.array(pc.cast(cells, pa.float64(), safe=False).fill_null(np.nan)), 0
    try:
        return np.array(pc.cast(cells, pa.float64()).fill_null(np.nan)), 0
    except pa.ArrowInvalid:
        numbers = _lenient(cells, sheet.decimal_comma)
        return np.array(numbers.fill_null(np.nan)), numbers.null_count - cells.null_count


def _lenient(cells: pa.ChunkedArray, decimal_comma: bool) -> pa.ChunkedArray:
    """Parse numbers with spaces, signs, thousands separators or decimal commas; null if unreadable."""
    import pyarrow as pa

    pc = arrow_functions()

    cells = pc.utf8_trim_whitespace(cells)
    if decimal_comma:
        cells = pc.replace_substring_regex(cells, r"^([+-]?\d*),(\d+)$", r"\1.\2")
    else:
        thousands = pc.match_substring_regex(cells, r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
        cells = pc.if_else(thousands, pc.replace_substring(cells, ",", ""), cells)
    cells = pc.replace_substring_regex(cells, r"^\+", "")
    number = pc.match_substring_regex(cells, _NUMBER)
    return pc.cast(pc.if_else(number, cells, pa.scalar(None, cells.type)), pa.float64())


def is_numeric(sheet: Sheet, column: str) -> bool:
    """Whether a column has a numeric type, or is text where at least half of the filled cells are numbers."""
    import pyarrow as pa

    cells, types = sheet.table[column], pa.types
    if any(test(cells.type) for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)):
        return True
    if not types.is_string(cells.type) or cells.null_count == len(cells):
        return False
    return numeric(sheet, column)[1] <= (len(cells) - cells.null_count) / 2


def _drop_counters(sheet: Sheet, numbers: list[str], name: str, report: DataReport) -> list[str]:
    """Leave out row numbers: 0, 1, 2 … in any column, and whole numbers in a column named id or index."""
    kept = []
    few = replace(sheet, table=sheet.table.slice(0, 3))
    for column in numbers:
        lower = column.strip().lower()
        named = lower in _COUNTERS or lower.endswith("_id")
        if (named or _counts_up(few, column)) and (_counts_up(sheet, column) or (named and _whole(sheet, column))):
            report.add_dropped(f"{name}/{column or '(unnamed)'}", "row numbers or ids", kind="columns")
        else:
            kept.append(column)
    return kept


def _counts_up(sheet: Sheet, column: str) -> bool:
    values = numeric(sheet, column)[0]
    return len(values) > 2 and _whole(sheet, column) and bool((np.diff(values) == 1).all())


def _whole(sheet: Sheet, column: str) -> bool:
    values = numeric(sheet, column)[0]
    return bool((np.isfinite(values) & (values == np.rint(values))).all())
