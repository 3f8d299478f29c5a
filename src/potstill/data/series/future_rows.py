"""Known covariates of the future, given as a table of their own: its rows are appended to those of the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from potstill.data import fingerprints
from potstill.data.data_report import DataReport
from potstill.data.files import files_of
from potstill.data.series.columns import ColumnSelection, pick_columns
from potstill.data.series.in_memory import is_in_memory, table_of
from potstill.data.series.nested import sheet_of_table
from potstill.data.series.readers import find_sources, read_sheet
from potstill.data.series.sheet import Sheet
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

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
    both = [
        pa.concat_tables(
            [own, pa.table({c: _typed_as(own[c], more[c], c, sheet, ahead) for c in shared})], promote_options="default"
        )
        for own, more in ((sheet.table, ahead.table), (sheet.raw, ahead.raw))
    ]
    return replace(sheet, table=both[0], raw=both[1])


def _typed_as(own: pa.ChunkedArray, more: pa.ChunkedArray, column: str, sheet: Sheet, ahead: Sheet) -> pa.ChunkedArray:
    """The future's cells in the type of the data's column, such as ISO dates of a CSV file as timestamps."""
    import pyarrow as pa

    types = own.type, more.type
    zones = [bool(kind.tz) for kind in types if pa.types.is_timestamp(kind)]
    try:
        if len(set(zones)) > 1:
            raise pa.ArrowInvalid("only one of them has a time zone")
        return more.cast(own.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise UserError(
            f"--future {ahead.label}: its column {column!r} is {types[1]}, and in {sheet.label} it is {types[0]}; write"
            " it in the same form.",
            key="future.other_type",
        ) from None


def _of_table(table: Any, report: DataReport) -> Sheet:
    return sheet_of_table(NAME, table, report, NAME)
