"""Known covariates of the future, given as a table of their own: its rows are appended to those of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from potstill.data import fingerprints
from potstill.data.data_report import DataReport
from potstill.data.files import files_of
from potstill.data.series.columns import ColumnSelection, pick_columns
from potstill.data.series.in_memory import is_in_memory, table_of
from potstill.data.series.nested import sheet_of_table
from potstill.data.series.readers import find_sources, read_sheet
from potstill.data.series.sheet import Sheet
from potstill.errors import UserError

NAME = "future"


class FutureRows(NamedTuple):
    """A table of the future: the function that reads it, and the fingerprint of its content."""

    read: Callable[[DataReport], Sheet]
    fingerprint: str


def future_rows(data: Any, cache: Path) -> FutureRows:
    """The table of the future, in a file or in memory.

    Raises
    ------
    UserError
        The path is not one file.
    """
    if is_in_memory(data):
        table = table_of(data, NAME)
        return FutureRows(partial(_of_table, table), fingerprints.of_table(table, {}))
    sources = find_sources([str(data)], [], None, DataReport())
    if len(sources) != 1:
        raise UserError(f"--future {data}: has {len(sources)} files; name one.", key="future.several_files")
    (source,) = sources
    fingerprint = fingerprints.of_files(files_of(source), {}, cache)
    return FutureRows(lambda report: read_sheet(source.path, report, NAME), fingerprint)


def with_future(sheet: Sheet, ahead: Sheet, name: str, selection: ColumnSelection) -> Sheet:
    """The rows of a table, then those of the future; the columns to forecast are missing there.

    Parameters
    ----------
    sheet, ahead
        The data, and the future with the same ids, times and known covariates.
    name
        The data set, for messages.
    selection
        How columns are used; ``covariates.known`` names those that the future must have.

    Raises
    ------
    UserError
        The future lacks a column, or has one of another type.
    """
    import pyarrow as pa

    known = selection.covariates.known
    present = [column for column in selection.covariates.all if column in sheet.table.column_names]
    columns = pick_columns(sheet.without(present), name, selection, DataReport())
    needed = [*columns.identity, *([columns.time] if columns.time else []), *known]
    missing = [column for column in needed if column not in ahead.table.column_names]
    if missing:
        raise UserError(
            f"--future {ahead.label}: has no column {missing[0]!r}; it needs {', '.join(map(repr, needed))}.",
            key="future.no_column",
        )
    unknown = {*columns.values, *selection.covariates.past}
    shared = [c for c in sheet.table.column_names if c in ahead.table.column_names and c not in unknown]
    try:
        both = [
            pa.concat_tables([own, more.select(shared)], promote_options="permissive")
            for own, more in ((sheet.table, ahead.table), (sheet.raw, ahead.raw))
        ]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--future {ahead.label}: a column has another type than in {sheet.label} ({reason}).",
            key="future.other_type",
        ) from None
    return replace(sheet, table=both[0], raw=both[1])


def _of_table(table: Any, report: DataReport) -> Sheet:
    return sheet_of_table(NAME, table, report, NAME)
