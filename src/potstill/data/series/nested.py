"""Tables with one row per series and its values in a list, as in the Chronos, GIFT-Eval and GluonTS data sets.

Three layouts are known: ``id, timestamp (list), target (list), …`` (Chronos), ``item_id, start, freq, target (list)``
(GIFT-Eval, GluonTS), where a list of lists holds several columns, and lists alone. Each becomes a long table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.offsets import stamps_from
from potstill.data.series.sheet import Sheet, distinct, plain
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

TARGET, START, FREQ, TIME = "target", "start", "freq", "timestamp"
ITEM = "item_id"
_ID_COLUMNS = (ITEM, "id", "unique_id", "series_id")


def sheet_of_table(label: str, table: pa.Table, report: DataReport, name: str) -> Sheet:
    """The sheet of an Arrow table; lists of values become a long table.

    Raises
    ------
    UserError
        Lists of one row differ in length, or ``freq`` is no pandas offset; the message names the row.
    """
    metadata = table.schema.metadata  # names the index of a pandas frame; renaming columns drops it
    table = table.rename_columns(distinct(table.column_names, report, name)).replace_schema_metadata(metadata)
    lists = {field.name: _cells(field.type) for field in table.schema if _is_list(field.type)}
    numbers = [column for column, kind in lists.items() if _is_number(kind)]
    flat = [field for field in table.schema if field.name not in lists and field.name != START]
    if not numbers or (TARGET not in numbers and any(_is_measured(field) for field in flat)):
        return Sheet.of(label, table)
    if not table.num_rows:
        raise UserError(f"{label}: has no rows; leave the file out or add data.", key="data.empty_file")
    return _Unrolling(label, plain(table.combine_chunks()), numbers, report, name).sheet()


class _Unrolling:
    """A table of R rows with lists, of which ``main`` decides how many rows of the long table each one gives."""

    def __init__(self, label: str, table: pa.Table, numbers: list[str], report: DataReport, name: str):
        self.label, self.table, self.report, self.name = label, table, report, name
        self.main = TARGET if TARGET in numbers else numbers[0]
        self.numbers = [TARGET] if TARGET in numbers else numbers
        self.lengths = self._lengths(self.main)
        self.rows = np.repeat(np.arange(len(table)), self.lengths)

    def sheet(self) -> Sheet:
        """The long table with its id column, times if it has some, and the columns of values."""
        import pyarrow as pa

        if not len(self.rows):
            raise UserError(f"{self.label}: every list in {self.main!r} is empty; add data.", key="data.empty_file")
        ids = self._id_column()
        columns: dict[str, Any] = {ids: self._repeated(self._ids(ids))}
        for k in np.flatnonzero(self.lengths == 0):
            self.report.add_dropped(f"{self.name}/{self._ids(ids)[int(k)].as_py()}", "no values")
        time = ""
        if START in self.table.column_names and not _is_list(self.table.schema.field(START).type):
            stamps = self._stamps()
            if stamps is not None:
                time = TIME
                columns[time] = pa.array(stamps)
        values = []
        for field in self.table.schema:
            if field.name in (ids, START, FREQ, *([time] if time else [])):
                continue
            if not _is_list(field.type):
                columns[field.name] = self._repeated(self.table[field.name])
                continue
            parts = self._parts(field.name)
            columns |= parts
            values += list(parts) if field.name in self.numbers else []
        return Sheet.of(self.label, pa.table(columns), ids=[ids], time=time, values=values)

    def _id_column(self) -> str:
        lower = {column.lower(): column for column in self.table.column_names}
        return next((lower[c] for c in _ID_COLUMNS if c in lower), ITEM)

    def _ids(self, column: str) -> pa.ChunkedArray:
        import pyarrow as pa

        if column in self.table.column_names:
            return self.table[column]
        return pa.chunked_array([pa.array(np.arange(len(self.table)).astype(str).tolist())])

    def _repeated(self, cells: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa

        return cells.take(pa.array(self.rows))

    def _lengths(self, column: str) -> np.ndarray:
        """``[R]`` steps in each row's list; of lists of lists, those of their first list."""
        pc = arrow_functions()

        cells = self.table[column].combine_chunks()
        if not _is_list(cells.type.value_type):
            return np.asarray(pc.list_value_length(cells).fill_null(0), dtype=np.int64)
        outer = np.asarray(pc.list_value_length(cells).fill_null(0), dtype=np.int64)
        inner = np.asarray(pc.list_value_length(pc.list_flatten(cells)).fill_null(0), dtype=np.int64)
        first = np.concatenate([[0], np.cumsum(outer)])[:-1]
        lengths = np.zeros(len(outer), np.int64)
        lengths[outer > 0] = inner[first[outer > 0]]
        odd = np.flatnonzero(inner != np.repeat(lengths, outer))
        if len(odd):
            row = int(np.searchsorted(np.cumsum(outer), odd[0], side="right"))
            raise self._ragged(row, f"lists of {lengths[row]:,} and {inner[odd[0]]:,} values in {column!r}")
        return lengths

    def _parts(self, column: str) -> dict[str, pa.Array]:
        """The cells of a list column as one column; those of lists of lists as several, numbered from 0."""
        pc = arrow_functions()

        required = column in self.numbers or column == TIME
        try:
            lengths = self._lengths(column)
        except UserError:
            if required:
                raise
            lengths = np.full(len(self.table), -1)
        wrong = np.flatnonzero(lengths != self.lengths)
        if len(wrong) and required:
            row = int(wrong[0])
            counts = f"{lengths[row]:,} values in {column!r} and {self.lengths[row]:,} in {self.main!r}"
            raise self._ragged(row, counts)
        if len(wrong):
            self.report.add_dropped(f"{self.name}/{column}", f"its lists are not as long as {self.main!r}", "columns")
            return {}
        cells = self.table[column].combine_chunks()
        if not _is_list(cells.type.value_type):
            return {column: pc.list_flatten(cells)}
        counts = np.asarray(pc.list_value_length(cells).fill_null(0), dtype=np.int64)
        count = int(counts[self.lengths > 0][0])
        first = int(np.flatnonzero(self.lengths > 0)[0])
        odd = np.flatnonzero((counts != count) & (self.lengths > 0))
        if len(odd):
            raise self._ragged(int(odd[0]), f"{counts[odd[0]]} lists in {column!r} where row {first + 1} has {count}")
        inner = pc.list_flatten(cells)
        return {
            f"{column}_{k}": pc.list_flatten(inner.take(np.flatnonzero(np.arange(len(inner)) % count == k)))
            for k in range(count)
        }

    def _stamps(self) -> np.ndarray | None:
        """Times of all rows from ``start`` and ``freq``; None, and a note, without ``freq``."""
        import pyarrow as pa

        pc = arrow_functions()

        if FREQ not in self.table.column_names:
            self.report.add_note(f"{self.name}: there is a start and no freq; values are kept in order without times")
            return None
        try:
            starts = pc.cast(self.table[START], pa.timestamp("us"), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise UserError(
                f"{self.label}: {START!r} holds no timestamps ({str(error).splitlines()[0]}); write YYYY-MM-DD.",
                key="data.unreadable_time",
            ) from None
        freqs = self.table[FREQ].to_pylist()
        pieces = []
        for row, (start, freq, count) in enumerate(zip(np.asarray(starts), freqs, self.lengths, strict=True)):
            stamps = stamps_from(start, freq, int(count)) if freq and not np.isnat(start) else None
            if stamps is None:
                raise UserError(
                    f"{self.label} row {row + 1}: no times follow from {START} {start} and {FREQ} {freq!r}; give a"
                    " timestamp and a pandas offset, such as h, D, W or MS.",
                    key="data.bad_frequency",
                )
            pieces.append(stamps)
        return np.concatenate(pieces)

    def _ragged(self, row: int, what: str) -> UserError:
        return UserError(f"{self.label} row {row + 1}: {what}; write lists of one length.", key="data.ragged_lists")


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _cells(kind: pa.DataType) -> pa.DataType:
    """The type of a list's cells, also of a list of lists."""
    return _cells(kind.value_type) if _is_list(kind) else kind


def _is_measured(field: pa.Field) -> bool:
    """Whether a column has times or numbers of its own, so that each row of the table is one step."""
    import pyarrow as pa

    return field.name.lower() not in _ID_COLUMNS and (_is_number(field.type) or pa.types.is_temporal(field.type))


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
