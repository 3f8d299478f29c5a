"""Decide which column is the time, which one has ids, and which have numbers to forecast."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.identity import find_identity, may_be_ids
from potstill.data.series.readers import Sheet
from potstill.data.series.timestamps import Times, read_times
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

TIME_NAMES = ("ds", "date", "datetime", "timestamp", "time", "date_time", "date time", "time_stamp", "date/time")
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
    """Which numeric columns to use: the target columns, else a file's first one if ``first``, else all."""

    target: list[str] | None = None
    first: bool = False


class Columns(NamedTuple):
    """The times (None without a time column), the id column (None in a wide table), the names of the value columns.

    ``time`` and ``identity`` are the names of the time column and of the id columns. ``choices`` lists ambiguous
    decisions, such as the order of day and month. Another version may decide differently, so they are part of the
    data's fingerprint.
    """

    times: Times | None
    ids: pa.ChunkedArray | None
    values: list[str]
    choices: list[str]
    time: str | None
    identity: list[str]


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
    taken, times = _find_time(sheet, lower, identity, set(target or ()), name, report)
    rest = [c for c in sheet.table.column_names if c not in {*taken, identity}]
    numbers = [c for c in rest if _is_numeric(sheet, c)]
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
    choices = [f"dates: {times.order}"] if times is not None and times.order else []
    choices += [f"ids: {identity}"] if identity != declared else []
    ids = sheet.table[identity] if identity is not None else None
    time = taken[0] if taken else None
    return Columns(times, ids, values, choices, time, [identity] if identity is not None else [])


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


def _is_numeric(sheet: Sheet, column: str) -> bool:
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


def _find_time(
    sheet: Sheet, lower: dict[str, str], identity: str | None, target: set[str], name: str, report: DataReport
) -> tuple[list[str], Times | None]:
    """Find the time column(s), the main one first, and their times: by name, then by type, then the first text column
    that reads as time."""
    import pyarrow as pa

    named = [lower[n] for n in TIME_NAMES if n in lower and lower[n] not in target]
    if named:
        return _named_time(sheet, named, lower, name, report)
    candidates = [c for c in sheet.table.column_names if c not in target and c != identity]
    for column in candidates:
        kind = sheet.table[column].type
        typed = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        if not typed and (not pa.types.is_string(kind) or _is_numeric(sheet, column)):
            continue
        times = read_times(sheet.table[column])
        if times.mixed is not None:
            raise _mixed(sheet, column, times)
        if times.sound and not times.counter:
            report.add_note(f"{name}: time is read from column {column!r}")
            _note_order(times, column, name, report)
            return [column], times
    report.add_note(f"{name}: no time column found; rows are kept in order")
    return [], None


def _named_time(
    sheet: Sheet, named: list[str], lower: dict[str, str], name: str, report: DataReport
) -> tuple[list[str], Times]:
    column = named[0]
    taken, cells = [column], sheet.table[column]
    if "date" in lower and "time" in lower and lower["date"] == column:
        joined = _joined(sheet, column, lower["time"])
        if joined is not None:
            taken, cells = [column, lower["time"]], joined
    times = read_times(cells)
    if times.mixed is not None:
        raise _mixed(sheet, column, times)
    if times.unreadable is not None or not times.valid.any():
        row = times.unreadable or 0
        raise UserError(
            f"{sheet.label} {sheet.place(row)}: {cells[row].as_py()!r} in time column {column!r} is not a timestamp; "
            "write YYYY-MM-DD HH:MM:SS in every row.",
            key="data.unreadable_time",
        )
    taken.extend(c for c in named[1:] if (other := read_times(sheet.table[c])).sound and not other.counter)
    _note_order(times, column, name, report)
    if times.zone:
        report.add_note(f"{name}: times are in time zone {times.zone}")
    return taken, times


def _note_order(times: Times, column: str, name: str, report: DataReport) -> None:
    if times.unsure:
        report.add_note(
            f"{name}: dates in column {column!r} fit both day/month and month/day; {times.order} was used (ISO dates,"
            " such as 2023-02-01, are unambiguous)"
        )


def _joined(sheet: Sheet, date: str, time: str) -> pa.ChunkedArray | None:
    """Join a date column and a time-of-day column, both text; None if they are not such a pair."""
    import pyarrow as pa

    pc = arrow_functions()

    dates, clocks = sheet.table[date], sheet.table[time]
    if not (pa.types.is_string(dates.type) and pa.types.is_string(clocks.type)):
        return None
    clocks = pc.utf8_trim_whitespace(clocks)
    if not pc.all(pc.match_substring_regex(clocks, r"^\d{1,2}[:.]\d{2}([:.]\d{2})?( ?[AaPp][Mm])?$")).as_py():
        return None
    return pc.binary_join_element_wise(pc.utf8_trim_whitespace(dates), clocks, " ")


def _mixed(sheet: Sheet, column: str, times: Times) -> UserError:
    row = times.mixed or 0
    return UserError(
        f"{sheet.label} {sheet.place(row)}: {sheet.table[column][row].as_py()!r} in time column {column!r} is in "
        "a different time zone than the first row; use one time zone.",
        key="data.mixed_time_zones",
    )
