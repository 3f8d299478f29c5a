"""A table as its file gave it: the cells, which of them are marks of missing values, and where each row was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport

if TYPE_CHECKING:
    import pyarrow as pa

MISSING_CELLS = [
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "NAN",
    "NaT",
    "null",
    "NULL",
    "None",
    "none",
    "?",
    "-",
    "--",
    ".",
]


class NumberFormat(NamedTuple):
    """How a column of text writes numbers; see ``numbers.number_format``.

    ``plain`` numbers need no treatment. ``note`` says what the user should know, ``problem`` why the column can be read
    in two ways; ``row`` is the first cell that shows it.
    """

    plain: bool = True
    decimal: str = "."
    note: str = ""
    row: int = 0
    problem: str = ""


@dataclass
class Sheet:
    """The content of a file or of a table in memory.

    Attributes
    ----------
    label
        The file's path, for messages.
    table
        Arrow columns; text is null where it is empty or a mark of a missing value (``NA``, ``null``, ``-`` …).
    raw
        The same columns with only empty text as null: an id called ``NA`` is an id.
    delimiter
        Of a text file's columns; empty for a table.
    ids, time, values
        The columns with ids, times and numbers to forecast, as far as the table itself says so: by the index of a
        pandas frame, or by its layout.
    decimal
        The decimal mark of numbers in text, if the user names it.
    formats
        How the columns of text that were looked at write numbers.
    skipped, header_lines
        Numbers of the lines left out, and how many lines the header has; None for a table.
    numbers
        The row in the file of each row, if the sheet has only some of them.
    """

    label: str
    table: pa.Table
    raw: pa.Table
    delimiter: str = ""
    ids: list[str] = field(default_factory=list)
    time: str = ""
    values: list[str] = field(default_factory=list)
    decimal: str = ""
    formats: dict[str, NumberFormat] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)
    header_lines: int | None = None
    numbers: Sequence[int] | None = None

    @classmethod
    def of(cls, label: str, table: pa.Table, **more: Any) -> Sheet:
        """The sheet of a table whose text may hold marks of missing values."""
        index = index_columns(table)
        raw = plain(table).replace_schema_metadata(None)
        times = [column for column in index if _is_time(raw.schema.field(column).type)]
        if len(times) == 1:
            more = {"time": times[0], "ids": [column for column in index if column not in times], **more}
        return cls(label, _without_marks(raw), raw, **more)

    def without(self, columns: list[str]) -> Sheet:
        """The sheet without some columns."""
        if not columns:
            return self
        return replace(self, table=self.table.drop_columns(columns), raw=self.raw.drop_columns(columns))

    def place(self, row: int) -> str:
        """``line 17`` of a text file, ``row 16`` of a table."""
        return self.place_in_file(row if self.numbers is None else self.numbers[row])

    def place_in_file(self, row: int) -> str:
        """The place of a row of the file."""
        if self.header_lines is None:
            return f"row {row + 1}"
        line = row + self.header_lines + 1
        for skipped in self.skipped:
            line += skipped <= line
        return f"line {line}"


def plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries decoded and all text as Arrow strings, as if read from a CSV file."""
    import pyarrow as pa

    for i, column in enumerate(table.schema):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        if kind != column.type:
            table = table.set_column(i, column.name, table[i].cast(kind))
    return table


def distinct(columns: Sequence[str], report: DataReport, name: str) -> list[str]:
    """Column names made distinct: a second ``x`` becomes ``x.1``, or the next number that no other column has."""
    used: set[str] = set()
    names = []
    for text in columns:
        own, number = text, 1
        while own in used or (number > 1 and own in columns):
            own, number = f"{text}.{number}", number + 1
        if own != text and text:
            report.add_note(f"{name}: the column name {text!r} is used twice; later ones are numbered")
        used.add(own)
        names.append(own)
    return names


def _without_marks(table: pa.Table) -> pa.Table:
    """The table with null in place of marks of missing values."""
    import pyarrow as pa

    pc = arrow_functions()

    marks = pa.array(MISSING_CELLS)
    for i, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            marked = pc.is_in(table[i], marks)
            if pc.any(marked).as_py():
                table = table.set_column(i, column.name, pc.if_else(marked, pa.scalar(None, pa.string()), table[i]))
    return table


def _is_time(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_timestamp(kind) or pa.types.is_date(kind)


def index_columns(table: pa.Table) -> list[str]:
    """The columns that pandas wrote as the index of a frame; a range is not a column."""
    metadata = (table.schema.metadata or {}).get(b"pandas")
    try:
        index = json.loads(metadata)["index_columns"] if metadata else []
    except (ValueError, KeyError, TypeError):
        return []
    return [column for column in index if isinstance(column, str) and column in table.column_names]
