"""How the numbers of a column of text are written: which mark separates decimals, which one thousands, which signs.

``1.220`` is 1220 in one country and 1.22 in another. The other cells decide, then the other columns, then the file's
separator and dates. If they do not, the column is refused: no number is silently wrong by a factor of 1,000.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.series.amounts import (
    LONG,
    SMALL,
    SPACED,
    THREES,
    amounts_of,
    count_marks,
    first_match,
    grouped_pattern,
    proven_marks,
    single_pattern,
)
from potstill.data.series.sheet import NumberFormat, Sheet

if TYPE_CHECKING:
    import pyarrow as pa

_ELSEWHERE = 2000  # rows of other columns that show the decimal mark of a file
_FAR = 2.0  # decades between whole numbers and others from which on the marks must separate thousands


def number_format(sheet: Sheet, column: str) -> NumberFormat:
    """How the numbers of a column of text are written; found once for each column."""
    if column not in sheet.formats:
        sheet.formats[column] = _format(sheet, column)
    return sheet.formats[column]


def _format(sheet: Sheet, column: str) -> NumberFormat:
    import pyarrow as pa

    pc = arrow_functions()

    cells = sheet.table[column]
    try:
        pc.cast(cells, pa.float64())
        plain = True
    except pa.ArrowInvalid:
        plain = False
    if plain and sheet.decimal != "," and not _all_in_threes(cells):
        return NumberFormat()
    amounts = amounts_of(cells)
    body = pc.struct_field(amounts, "body")
    if body.null_count == len(body):
        return NumberFormat(plain=plain)
    form = _unequal_signs(amounts) or _decimal_mark(sheet, column, body)
    if form.problem:
        return form
    return _with_note_on_signs(form, amounts)._replace(plain=plain and form.decimal == ".")


def _all_in_threes(cells: pa.ChunkedArray) -> bool:
    """Whether every decimal point has one to three digits before and three behind, so that it may mean thousands."""
    pc = arrow_functions()

    dotted = cells.filter(pc.match_substring(cells, "."))
    few = dotted[:100]
    return len(few) > 0 and all(pc.all(pc.match_substring_regex(part, THREES)).as_py() for part in (few, dotted))


def _decimal_mark(sheet: Sheet, column: str, body: pa.ChunkedArray) -> NumberFormat:
    """Decide which mark separates decimals in a column."""
    other = {".": ",", ",": "."}
    if sheet.decimal:
        return NumberFormat(False, sheet.decimal)
    marks = {mark: count_marks(body, mark) for mark in other}
    proven = proven_marks(marks)
    singles = [mark for mark in other if marks[mark].single]
    if len(proven) > 1 or (not proven and len(singles) > 1):
        row = first_match(body, single_pattern(".") + "|" + single_pattern(","))
        return _ambiguous("is in a column that also has the other decimal mark", max(row, 0))
    if proven:
        mark = next(iter(proven))
        grouped = first_match(body, grouped_pattern(other[mark]))
        return _noted(mark, grouped)
    if not singles:
        return NumberFormat(False, ".")
    return _single_mark(sheet, column, body, singles[0])


def _single_mark(sheet: Sheet, column: str, body: pa.ChunkedArray, mark: str) -> NumberFormat:
    """Decide whether numbers such as 1.220, all with three digits behind the only mark, are whole numbers."""
    pc = arrow_functions()

    other = "," if mark == "." else "."
    row = first_match(body, single_pattern(mark))
    local, firm = _of_file(sheet, column)
    without = int(pc.sum(pc.match_substring_regex(body, LONG)).as_py() or 0)
    if local == other and firm and not without:
        return _noted(other, row)
    far = _whole_numbers_are_far(body, mark)
    if far and not without and not (local == mark and firm):
        return _noted(other, row)
    if far or local == other or not local:
        return _ambiguous("may have a thousands separator or decimals", row)
    if mark == ",":
        return NumberFormat(False, mark, "commas separate decimals", row)
    return NumberFormat(False, mark)


def _of_file(sheet: Sheet, column: str) -> tuple[str, bool]:
    """The decimal mark that the rest of a file suggests (empty: none), and whether that is firm."""
    elsewhere = set()
    for name in sheet.table.column_names:
        if name != column and str(sheet.table.schema.field(name).type) == "string":
            body = arrow_functions().struct_field(amounts_of(sheet.table[name][:_ELSEWHERE]), "body")
            elsewhere |= proven_marks({mark: count_marks(body, mark) for mark in ".,"})
    if len(elsewhere) == 1:
        return elsewhere.pop(), True
    dotted = _has_dotted_dates(sheet)
    if sheet.delimiter == ",":
        return ("", False) if dotted else (".", True)
    if sheet.delimiter == ";" or dotted:
        return ",", sheet.delimiter == ";" and dotted
    return ".", False


def _has_dotted_dates(sheet: Sheet) -> bool:
    """Whether some column begins with a date such as 31.12.2023."""
    pc = arrow_functions()

    for name in sheet.table.column_names:
        cells = sheet.table[name]
        if str(cells.type) == "string":
            few = cells[:100].drop_null()
            if len(few) and pc.all(pc.match_substring_regex(few, r"^\s*\d{1,2}\.\d{1,2}\.\d{2,4}\b")).as_py():
                return True
    return False


def _whole_numbers_are_far(body: pa.ChunkedArray, mark: str) -> bool:
    """Whether whole numbers (985) are hundreds of times as large as the others (1.220), read as decimals."""
    import pyarrow as pa

    pc = arrow_functions()

    def typical(pattern: str) -> float | None:
        cells = body.filter(pc.fill_null(pc.match_substring_regex(body, pattern), False))
        found = np.asarray(pc.cast(pc.replace_substring(cells, ",", "."), pa.float64()))
        return float(np.median(np.log10(found))) if len(found) else None

    whole, others = typical(SMALL), typical(single_pattern(mark))
    return whole is not None and others is not None and whole - others > _FAR


def _noted(decimal: str, row: int) -> NumberFormat:
    """The format with this decimal mark; where a row has thousands separators, that is noted."""
    mark = "commas" if decimal == "." else "points"
    note = f"{mark} separate thousands" if row >= 0 else ""
    return NumberFormat(False, decimal, note, max(row, 0))


def _ambiguous(why: str, row: int) -> NumberFormat:
    remedy = "say which mark separates decimals with --decimal . or --decimal , (data.decimal)"
    return NumberFormat(False, problem=f"{why}; {remedy}", row=row)


def _unequal_signs(amounts: pa.ChunkedArray) -> NumberFormat | None:
    """The problem of a column where only some cells have %, or where currencies differ."""
    pc = arrow_functions()

    filled = pc.struct_field(amounts, "body").is_valid()
    percent = np.asarray(pc.fill_null(pc.equal(pc.struct_field(amounts, "percent"), "%"), False))
    known = np.asarray(filled)
    if percent.any() and not percent[known].all():
        what = "has a per-cent sign and other cells have none; write all cells in the same unit"
        return NumberFormat(False, problem=what, row=int(np.flatnonzero(percent)[0]))
    before, after = (pc.struct_field(amounts, group) for group in ("before", "after"))
    currency = pc.coalesce(pc.if_else(pc.equal(before, ""), None, before), pc.if_else(pc.equal(after, ""), None, after))
    used = currency.combine_chunks().dictionary_encode()
    if len(used.dictionary) > 1:
        rows = np.asarray(used.indices.fill_null(-1))
        what = f"is in another currency than {used.dictionary[0].as_py()}; write all cells in one currency"
        return NumberFormat(False, problem=what, row=int(np.flatnonzero(rows == 1)[0]))
    return None


def _with_note_on_signs(form: NumberFormat, amounts: pa.ChunkedArray) -> NumberFormat:
    """Add a note on the first sign that is not part of a plain number."""
    pc = arrow_functions()

    for group, note in (
        ("percent", "per-cent signs are left out"),
        ("before", "currency signs are left out"),
        ("after", "currency signs are left out"),
        ("open", "brackets mark negative numbers"),
        ("trailing", "a minus at the end marks negative numbers"),
    ):
        rows = np.flatnonzero(np.asarray(pc.fill_null(pc.not_equal(pc.struct_field(amounts, group), ""), False)))
        if len(rows):
            return _also(form, note, int(rows[0]))
    row = first_match(pc.struct_field(amounts, "body"), SPACED)
    return _also(form, "spaces or apostrophes separate thousands", row) if row >= 0 else form


def _also(form: NumberFormat, note: str, row: int) -> NumberFormat:
    """The format with one more note; the first note's row is its example."""
    return form._replace(note=f"{form.note}, {note}", row=form.row) if form.note else form._replace(note=note, row=row)
