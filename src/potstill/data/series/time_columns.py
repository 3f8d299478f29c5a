"""Find the time of a table: one column by name or content, a date next to an hour, or year, month and day."""

from __future__ import annotations

from collections.abc import Sequence

from potstill.data.data_report import DataReport
from potstill.data.series.clock_columns import add_clock, date_of_parts
from potstill.data.series.sheet import Sheet
from potstill.data.series.times import Times
from potstill.data.series.timestamps import read_times
from potstill.errors import UserError

TIME_NAMES = ("ds", "date", "datetime", "timestamp", "time", "date_time", "date time", "time_stamp", "date/time")
#: names of columns whose numbers are the time if they clearly name dates, such as 202001
PERIOD_NAMES = ("month", "week", "quarter", "day", "year", "period", "yearmonth", "year_month", "yyyymm", "yyyymmdd",
                "yearweek", "year_week", "date_id", "epoch", "unix_time", "datum")  # fmt: skip


def find_time(
    sheet: Sheet,
    others: Sequence[str],
    time_column: str | None,
    date_format: str | None,
    name: str,
    report: DataReport,
) -> tuple[list[str], Times | None]:
    """The columns that make the time, the main one first, and their times; without any (None) rows are kept in order.

    A column is taken by its name, then by its type, then as the first text that reads as time, then as numbers that
    name dates. A date is joined with a column of hours or times of day.

    Parameters
    ----------
    others
        Columns that are not the time: ids, and values to forecast.
    time_column, date_format
        What the user says; see ``columns.ColumnSelection``.

    Raises
    ------
    UserError
        The time column does not exist or has a cell that is no timestamp; the message names its place.
    """
    columns = [column for column in sheet.table.column_names if column not in others]
    lower = {column.strip().lower(): column for column in reversed(columns)}
    if time_column is not None:
        if time_column not in sheet.table.column_names:
            known = ", ".join(map(repr, sheet.table.column_names[:10]))
            raise UserError(
                f"{sheet.label}: there is no time column {time_column!r}; the columns are {known}.",
                key="data.no_such_time_column",
            )
        named = [time_column]
    else:
        named = [lower[n] for n in TIME_NAMES if n in lower]
        named = [sheet.time, *(column for column in named if column != sheet.time)] if sheet.time else named
    if named:
        taken, times = _named_time(sheet, named, date_format, name, report)
    else:
        taken, times = _found_time(sheet, columns, lower, date_format, name, report)
    if times is not None:
        taken |= add_clock(sheet, times, [c for c in columns if c not in taken or c in named[1:]], name, report)
    else:
        report.add_note(f"{name}: no time column found; rows are kept in order")
    return sorted(taken, key=lambda column: times is None or column != times.name), times


def _found_time(
    sheet: Sheet, columns: list[str], lower: dict[str, str], date_format: str | None, name: str, report: DataReport
) -> tuple[set[str], Times | None]:
    for column in columns:
        if not _may_be_time(sheet, column):
            continue
        times = read_times(sheet.table[column], column, date_format)
        if times.mixed is not None:
            raise _mixed(sheet, column, times)
        if times.sound and not times.counter and not times.form:
            report.add_note(f"{name}: time is read from column {column!r}")
            return {column}, times
    parts = date_of_parts(sheet, lower, name, report)
    if parts is not None:
        return parts
    for column in (lower[n] for n in PERIOD_NAMES if n in lower):
        times = read_times(sheet.table[column], column, date_format)
        if times.sound and not times.counter:
            report.add_note(f"{name}: time is read from column {column!r}")
            return {column}, times
    return set(), None


def _may_be_time(sheet: Sheet, column: str) -> bool:
    """Whether a column has dates by its type, or is text."""
    import pyarrow as pa

    kind = sheet.table[column].type
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_string(kind)


def _named_time(
    sheet: Sheet, named: list[str], date_format: str | None, name: str, report: DataReport
) -> tuple[set[str], Times]:
    column = named[0]
    cells = sheet.table[column]
    times = read_times(cells, column, date_format)
    if times.mixed is not None:
        raise _mixed(sheet, column, times)
    if times.unreadable is not None or not times.valid.any():
        row = times.unreadable or 0
        fits = f"does not fit the format {date_format!r}" if date_format else "is not a timestamp"
        remedy = "correct the cell or the format" if date_format else "write YYYY-MM-DD HH:MM:SS in every row"
        raise UserError(
            f"{sheet.label} {sheet.place(row)}: {cells[row].as_py()!r} in time column {column!r} {fits}; {remedy}.",
            key="data.unreadable_time",
        )
    taken = {column}
    for other in named[1:]:
        found = read_times(sheet.table[other], other)
        if found.sound and not found.counter:
            taken.add(other)
    return taken, times


def _mixed(sheet: Sheet, column: str, times: Times) -> UserError:
    row = times.mixed or 0
    return UserError(
        f"{sheet.label} {sheet.place(row)}: {sheet.table[column][row].as_py()!r} in time column {column!r} differs "
        "from the first row in whether it has a time zone; write an offset such as +01:00 in every row.",
        key="data.mixed_time_zones",
    )
