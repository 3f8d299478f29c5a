"""Numbers in text as float64, with their marks and signs: €, % and (12.50)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.amounts import SPACES, amounts_of
from potstill.data.series.number_format import number_format
from potstill.data.series.sheet import NumberFormat, Sheet
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER = r"^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^(?i:inf|infinity)$"


def numeric(sheet: Sheet, column: str) -> tuple[np.ndarray, np.ndarray]:
    """A column as float64 with NaN where missing, and the rows with text that is no number."""
    import pyarrow as pa

    pc = arrow_functions()

    cells = sheet.table[column]
    if not pa.types.is_string(cells.type):
        return np.array(pc.cast(cells, pa.float64(), safe=False).fill_null(np.nan)), np.zeros(0, np.int64)
    form = number_format(sheet, column)
    numbers = pc.cast(cells, pa.float64()) if form.plain else _read(cells, form)
    unreadable = np.flatnonzero(np.asarray(pc.and_(numbers.is_null(), cells.is_valid())))
    return np.array(numbers.fill_null(np.nan)), unreadable


def is_numeric(sheet: Sheet, column: str) -> bool:
    """Whether a column has a numeric type, or is text where at least half of the filled cells are numbers."""
    import pyarrow as pa

    cells, types = sheet.table[column], pa.types
    if any(test(cells.type) for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal)):
        return True
    if not types.is_string(cells.type) or cells.null_count == len(cells):
        return False
    return len(numeric(sheet, column)[1]) <= (len(cells) - cells.null_count) / 2


def check_numbers(sheet: Sheet, column: str, name: str, report: DataReport) -> None:
    """Note how a column's numbers are read, and refuse one that can be read in two ways.

    Raises
    ------
    UserError
        Naming the column, the first such cell and its line, and what to do.
    """
    import pyarrow as pa

    if not pa.types.is_string(sheet.table[column].type):
        return
    form = number_format(sheet, column)
    cell = sheet.table[column][form.row].as_py()
    if form.problem:
        raise UserError(
            f"{sheet.label} {sheet.place(form.row)}: {cell!r} in column {column!r} {form.problem}.",
            key="data.ambiguous_numbers",
        )
    if form.note:
        value = numeric(sheet, column)[0][form.row]
        report.add_note(f"{name}/{column}: {form.note}: {cell!r} ({sheet.place(form.row)}) is read as {value:.12g}")


def _read(cells: pa.ChunkedArray, form: NumberFormat) -> pa.ChunkedArray:
    """Numbers of cells in a format; null where a cell is none."""
    import pyarrow as pa

    pc = arrow_functions()

    parts = amounts_of(cells)

    def has(group: str, text: str) -> Any:
        return pc.fill_null(pc.equal(pc.struct_field(parts, group), text), False)

    body = _ungrouped(pc.struct_field(parts, "body"), form.decimal)
    minus = [has("open", "("), has("sign", "-"), has("inner", "-"), has("trailing", "-")]
    count = pc.cast(minus[0], pa.int8())
    for sign in minus[1:]:
        count = pc.add(count, pc.cast(sign, pa.int8()))
    sound = pc.and_(pc.match_substring_regex(body, _NUMBER), pc.equal(has("open", "("), has("close", ")")))
    sound = pc.fill_null(pc.and_(sound, pc.less(count, 2)), False)
    numbers = pc.cast(pc.if_else(sound, body, pa.scalar(None, pa.string())), pa.float64())
    return pc.if_else(pc.equal(count, 1), pc.negate(numbers), numbers)


def _ungrouped(body: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Amounts with a decimal point and no thousands marks; amounts with marks in other places stay as they are."""
    pc = arrow_functions()

    other = "," if decimal == "." else "."
    for mark in (SPACES, f"[{other}]"):
        groups = rf"^\d{{1,3}}(?:(?:{mark}\d{{2,3}})*{mark}\d{{3}})(?:[{decimal}]\d*)?$"
        grouped = pc.match_substring_regex(body, groups)
        body = pc.if_else(grouped, pc.replace_substring_regex(body, mark, ""), body)
    if decimal == ".":
        return body
    body = pc.replace_substring(body, ".", "?")  # a point that separates no thousands makes the cell unreadable
    return pc.replace_substring_regex(body, r"^(\d*),(\d*(?:[eE][+-]?\d+)?)$", r"\1.\2")
