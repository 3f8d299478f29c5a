"""Decide which column is the time, which ones have ids, and which have numbers to forecast."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from potstill.data.data_report import DataReport
from potstill.data.series.covariates import CovariateNames
from potstill.data.series.id_columns import may_be_ids
from potstill.data.series.identity import find_ids
from potstill.data.series.numbers import check_numbers, is_numeric, numeric
from potstill.data.series.sheet import Sheet
from potstill.data.series.time_columns import find_time
from potstill.data.series.time_text import read_text
from potstill.data.series.times import Times
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ID_NAMES = ("unique_id", "item_id", "series_id")
VALUE_NAMES = ("y", "target")
_COUNTERS = ("", "id", "index", "idx", "row", "row_id", "rowid", "unnamed: 0", "__index_level_0__")
# from how many columns on, and from which share of them, names that are times make a table with a column for each time
_LEAST_TIMES, _MOST_TIMES = 3, 0.5


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
    ids
        The id columns; None: found from the data.
    covariates
        Columns that help to forecast.
    time_column, date_format, freq
        The time column, the format of its dates (as for ``strptime``), and the alias of the step of all series; None:
        found from the data.
    """

    target: list[str] | None = None
    first: bool = False
    ids: list[str] | None = None
    covariates: CovariateNames = CovariateNames()
    time_column: str | None = None
    date_format: str | None = None
    freq: str | None = None


class Columns(NamedTuple):
    """The times (None without a time column), the id columns (None in a wide table), the names of the value columns.

    ``time`` and ``identity`` are the names of the time column and of the id columns. ``choices`` lists ambiguous
    decisions, such as the order of day and month. Another version may decide differently, so they are part of the
    data's fingerprint.
    """

    times: Times | None
    ids: pa.Table | None
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
    target = selection.target or []
    lower = {column.strip().lower(): column for column in reversed(sheet.table.column_names)}
    declared = declared_ids(sheet, lower, selection)
    taken, times = find_time(sheet, [*declared, *target], selection.time_column, selection.date_format, name, report)
    rest = [c for c in sheet.table.column_names if c not in {*taken, *declared}]
    numbers = [c for c in rest if is_numeric(sheet, c)]
    candidates = id_candidates(sheet, rest, numbers, target)
    ids = find_ids(sheet, times, declared, candidates, name, report, named_by_user=selection.ids is not None)
    rest, numbers = [[c for c in columns if c not in ids] for columns in (rest, numbers)]
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
        values = _values(sheet, numbers, lower, bool(ids), name, report)
        if times is None:
            _refuse_times_as_columns(sheet, values)
        for column in values[1:] if selection.first else ():
            report.add_dropped(f"{name}/{column}", "not the first column of numbers", kind="columns")
        values = values[:1] if selection.first else values
    for column in numbers if ids else ():
        if column not in values:
            report.add_dropped(f"{name}/{column}", "not the target", kind="columns")
    if not values:
        raise _no_values(sheet, rest, numbers, empty)
    for column in values:
        check_numbers(sheet, column, name, report)
    choices = [f"ids: {', '.join(ids)}"] if ids != declared else []
    choices += [f"numbers: {column} {sheet.formats[column].decimal}" for column in values if _is_unusual(sheet, column)]
    time = taken[0] if taken else None
    report.add_read(_summary(ids, taken, values), name)
    return Columns(times, sheet.raw.select(ids) if ids else None, values, choices, time, ids)


def id_candidates(sheet: Sheet, rest: list[str], numbers: list[str], target: list[str]) -> list[str]:
    """The columns among ``rest`` (neither time nor declared ids) that may contain ids; ``numbers`` are numeric."""
    found = [c for c in rest if c not in target and c not in sheet.values and may_be_ids(sheet, c, c in numbers)]
    return [c for c in found if c not in numbers] if len(numbers) == 1 else found  # it is the value to forecast


def declared_ids(sheet: Sheet, lower: dict[str, str], selection: ColumnSelection) -> list[str]:
    """The id columns that the user names, that the table's index has, or whose name says so."""
    if selection.ids is not None:
        missing = [column for column in selection.ids if column not in sheet.table.column_names]
        if missing:
            raise UserError(
                f"{sheet.label}: no id column {missing[0]!r}; columns: {_listed(sheet.table.column_names, 12)}.",
                key="data.no_such_id_column",
            )
        return selection.ids
    return sheet.ids or [lower[n] for n in ID_NAMES if n in lower][:1]


def _values(
    sheet: Sheet, numbers: list[str], lower: dict[str, str], stacked: bool, name: str, report: DataReport
) -> list[str]:
    """The columns to forecast: those of the table's layout, else ``y`` or ``target`` with ids, else all numbers."""
    if sheet.values:
        return [column for column in sheet.values if column in numbers]
    named = [lower[n] for n in VALUE_NAMES if stacked and lower.get(n) in numbers][:1]
    return named or _drop_counters(sheet, numbers, name, report)


def _refuse_times_as_columns(sheet: Sheet, values: list[str]) -> None:
    """Raise UserError for a table with a column for each time: a row is a series there, and here a time."""
    import pyarrow as pa

    names = [column for column in values if any(character.isdigit() for character in column)]
    if len(names) < max(_LEAST_TIMES, _MOST_TIMES * len(values)):
        return
    times = read_text(pa.chunked_array([names], pa.string()))
    if times.valid.mean() > _MOST_TIMES and not times.counter:
        raise UserError(
            f"{sheet.label}: the names of its columns are times ({_listed(names)}) and every row is a series; write one"
            " row per time, with columns for id, time and value, as melt of pandas does; if they are no times, name"
            " them with --target.",
            key="data.times_as_columns",
        )


def _no_values(sheet: Sheet, rest: list[str], numbers: list[str], empty: list[str]) -> UserError:
    """Why a table has no column to forecast."""
    if empty and len(empty) == len(rest):
        return UserError(
            f"{sheet.label}: every value is missing in {_listed(empty)}; add a column with numbers.",
            key="data.no_values",
        )
    if numbers:
        return UserError(
            f"{sheet.label}: every numeric column contains row numbers or ids ({_listed(numbers)}); add another"
            " column, or name one with --target.",
            key="data.only_row_numbers",
        )
    text = next((column for column in rest if column not in empty), None)
    row = int(np.flatnonzero(np.asarray(sheet.table[text].is_valid()))[0]) if text is not None else 0
    seen = f" (column {text!r} has {str(sheet.table[text][row].as_py())[:40]!r}, {sheet.place(row)})" if text else ""
    return UserError(
        f"{sheet.label}: no numeric column to forecast{seen}; add at least one column of numbers.",
        key="data.no_numeric_column",
    )


def _is_unusual(sheet: Sheet, column: str) -> bool:
    """Whether a column of text writes numbers in a way that another version may read differently."""
    return column in sheet.formats and bool(sheet.formats[column].note)


def _summary(ids: list[str], times: list[str], values: list[str]) -> str:
    """What a table's columns are used as, in one line."""
    parts = [("ids", ids), ("time", times), ("values", values)]
    return ", ".join(f"{what} {_listed(columns, 5)}" for what, columns in parts if columns)


def _listed(columns: list[str], most: int = 3) -> str:
    more = f" and {len(columns) - most} more" if len(columns) > most else ""
    return ", ".join(map(repr, columns[:most])) + more


def _drop_counters(sheet: Sheet, numbers: list[str], name: str, report: DataReport) -> list[str]:
    """Leave out row numbers: 0, 1, 2 … in any column, and whole numbers in a column named id or index."""
    kept = []
    few = replace(sheet, table=sheet.table.slice(0, 3))
    for column in numbers:
        named = named_as_counter(column)
        if (named or counts_up(few, column)) and (counts_up(sheet, column) or (named and _whole(sheet, column))):
            report.add_dropped(f"{name}/{column or '(unnamed)'}", "row numbers or ids", kind="columns")
        else:
            kept.append(column)
    return kept


def named_as_counter(column: str) -> bool:
    """Whether a column's name suggests row numbers."""
    lower = column.strip().lower()
    return lower in _COUNTERS or lower.endswith("_id")


def counts_up(sheet: Sheet, column: str) -> bool:
    """Whether a column has whole numbers, each one more than the one before."""
    values = numeric(sheet, column)[0]
    return len(values) > 2 and _whole(sheet, column) and bool((np.diff(values) == 1).all())


def _whole(sheet: Sheet, column: str) -> bool:
    values = numeric(sheet, column)[0]
    return bool((np.isfinite(values) & (values == np.rint(values))).all())
