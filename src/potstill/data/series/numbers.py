"""Numbers in text: which mark separates decimals, which one thousands, and signs such as €, % and (12.50).

``1.220`` is 1220 in one country and 1.22 in another. The other cells decide, then the other columns, then the file's
separator and dates. If they do not, the column is refused: no number is silently wrong by a factor of 1,000.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from potstill.data._arrow import arrow_functions
from potstill.data.data_report import DataReport
from potstill.data.series.sheet import NumberFormat, Sheet
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

_CURRENCY = (
    r"(?:R\$|[$€£¥₹₽₩₺₪฿]|USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|kr\.?|zł|Kč)"
)
_SPACES = "[ \u00a0\u2009\u202f'’]"  # thousands marks that are no decimal marks
# an amount in digits, and the signs around it
_AMOUNT = (
    r"^(?P<open>\()?\s*(?P<sign>[+-])?\s*(?P<before>" + _CURRENCY + r")?\s*(?P<inner>[+-])?\s*"
    r"(?P<body>[\d.,](?:[\d.,]|" + _SPACES + r"\d)*(?:[eE][+-]?\d+)?|(?i:inf|infinity))\s*"
    r"(?P<after>" + _CURRENCY + r")?\s*(?P<percent>%)?\s*(?P<trailing>-)?\s*(?P<close>\))?$"
)
_NUMBER = r"^(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^(?i:inf|infinity)$"
_SMALL, _LONG = r"^[1-9]\d{0,2}$", r"^\d{4,}$"  # whole numbers that need no thousands mark, and those without one
_THREES = r"^\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*$"  # numbers whose point may separate thousands
_SPACED = rf"\d{_SPACES}\d{{3}}"
_ELSEWHERE = 2000  # rows of other columns that show the decimal mark of a file
_FAR = 2.0  # decades between whole numbers and others from which on the marks must separate thousands


class _Marks(NamedTuple):
    """How many cells use a mark (``.`` or ``,``) in which way.

    ``single`` is ambiguous (``1.220``), ``several`` separates thousands (``1.220.500``, or ``1.220,5``), ``decimal``
    can only separate decimals (``0.220``, ``12.5``).
    """

    single: int
    several: int
    decimal: int


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
    amounts = _amounts(cells)
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
    return len(few) > 0 and all(pc.all(pc.match_substring_regex(part, _THREES)).as_py() for part in (few, dotted))


def _amounts(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    """Cells split into the groups of ``_AMOUNT``; null where a cell is no amount."""
    pc = arrow_functions()

    cells = pc.utf8_trim_whitespace(pc.replace_substring(cells, "\u2212", "-"))
    return pc.extract_regex(cells, _AMOUNT)


def _read(cells: pa.ChunkedArray, form: NumberFormat) -> pa.ChunkedArray:
    """Numbers of cells in a format; null where a cell is none."""
    import pyarrow as pa

    pc = arrow_functions()

    parts = _amounts(cells)

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
    for mark in (_SPACES, f"[{other}]"):
        groups = rf"^\d{{1,3}}(?:(?:{mark}\d{{2,3}})*{mark}\d{{3}})(?:[{decimal}]\d*)?$"
        grouped = pc.match_substring_regex(body, groups)
        body = pc.if_else(grouped, pc.replace_substring_regex(body, mark, ""), body)
    if decimal == ".":
        return body
    body = pc.replace_substring(body, ".", "?")  # a point that separates no thousands makes the cell unreadable
    return pc.replace_substring_regex(body, r"^(\d*),(\d*(?:[eE][+-]?\d+)?)$", r"\1.\2")


def _decimal_mark(sheet: Sheet, column: str, body: pa.ChunkedArray) -> NumberFormat:
    """Decide which mark separates decimals in a column."""
    other = {".": ",", ",": "."}
    if sheet.decimal:
        return NumberFormat(False, sheet.decimal)
    marks = {mark: _count(body, mark) for mark in other}
    proven = _proven(marks)
    singles = [mark for mark in other if marks[mark].single]
    if len(proven) > 1 or (not proven and len(singles) > 1):
        row = _first(body, _single(".") + "|" + _single(","))
        return _ambiguous("is in a column that also has the other decimal mark", max(row, 0))
    if proven:
        mark = next(iter(proven))
        grouped = _first(body, _grouped(other[mark]))
        return _noted(mark, grouped)
    if not singles:
        return NumberFormat(False, ".")
    return _single_mark(sheet, column, body, singles[0])


def _single_mark(sheet: Sheet, column: str, body: pa.ChunkedArray, mark: str) -> NumberFormat:
    """Decide whether numbers such as 1.220, all with three digits behind the only mark, are whole numbers."""
    pc = arrow_functions()

    other = "," if mark == "." else "."
    row = _first(body, _single(mark))
    local, firm = _of_file(sheet, column)
    without = int(pc.sum(pc.match_substring_regex(body, _LONG)).as_py() or 0)
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
            body = arrow_functions().struct_field(_amounts(sheet.table[name][:_ELSEWHERE]), "body")
            elsewhere |= _proven({mark: _count(body, mark) for mark in ".,"})
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

    whole, others = typical(_SMALL), typical(_single(mark))
    return whole is not None and others is not None and whole - others > _FAR


def _single(mark: str) -> str:
    return rf"^[1-9]\d{{0,2}}[{mark}]\d{{3}}$"


def is_single_mark(sheet: Sheet, column: str) -> bool:
    """Whether all amounts of a column of text may have thousands or decimals, so that all rows decide."""
    import pyarrow as pa

    cells = sheet.table[column]
    if not pa.types.is_string(cells.type) or (number_format(sheet, column) == NumberFormat()):
        return False
    body = arrow_functions().struct_field(_amounts(cells), "body")
    marks = {mark: _count(body, mark) for mark in ".,"}
    return not _proven(marks) and any(marks[mark].single for mark in marks)


class FormatWitnesses:
    """Finds the first cells of a column of text that decide how its numbers are written, block by block."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._dotted: set[str] = set()

    def plain(self, cells: pa.ChunkedArray) -> list[int]:
        """The first cells with a point, for a block whose cells are all plain numbers."""
        pc = arrow_functions()

        if len(self._dotted) == 2:
            return []
        dotted = pc.match_substring(cells, ".")
        other = pc.and_(dotted, pc.invert(pc.match_substring_regex(cells, _THREES)))
        return self._new(self._dotted, {"dotted": dotted, "other": other})

    def marked(self, cells: pa.ChunkedArray) -> list[int]:
        """The first cells of each kind of amount, and the first that is no amount."""
        pc = arrow_functions()

        amounts = _amounts(cells)
        body, percent = (pc.struct_field(amounts, group) for group in ("body", "percent"))
        masks: dict[str, Any] = {"none": pc.and_(body.is_null(), cells.is_valid())}
        for mark in ".,":
            single, several, either = (pc.match_substring_regex(body, pattern) for pattern in _patterns(mark))
            masks |= {f"single {mark}": single, f"several {mark}": several}
            masks[f"decimal {mark}"] = pc.and_(either, pc.invert(single))
            masks[f"grouped {mark}"] = pc.match_substring_regex(body, _grouped(mark))
        masks |= {"long": pc.match_substring_regex(body, _LONG), "percent": pc.equal(percent, "%")}
        masks["no percent"] = pc.and_(pc.not_equal(percent, "%"), body.is_valid())
        masks["spaces"] = pc.match_substring_regex(body, _SPACED)
        for group in ("open", "trailing", "close"):
            masks[group] = pc.not_equal(pc.struct_field(amounts, group), "")
        for group in ("before", "after"):
            signs = pc.struct_field(amounts, group)
            masks |= {f"{group} {sign}": pc.equal(signs, sign) for sign in pc.unique(signs).to_pylist() if sign}
        return self._new(self._found, masks)

    @staticmethod
    def _new(found: set[str], masks: dict[str, Any]) -> list[int]:
        rows = []
        for key in [key for key in masks if key not in found]:
            row = arrow_functions().index(masks[key], True).as_py()
            if row >= 0:
                found.add(key)
                rows.append(row)
        return rows


def _count(body: pa.ChunkedArray, mark: str) -> _Marks:
    pc = arrow_functions()

    single, several, either = (
        int(pc.sum(pc.match_substring_regex(body, pattern)).as_py() or 0) for pattern in _patterns(mark)
    )
    return _Marks(single, several, either - single)


def _grouped(mark: str) -> str:
    return rf"^\d{{1,3}}([{mark}]\d{{2,3}})*[{mark}]\d{{3}}"


def _patterns(mark: str) -> tuple[str, str, str]:
    """Amounts that use a mark in an ambiguous way, several times, and in a way that may separate decimals."""
    other = "," if mark == "." else "."
    several = rf"^\d{{1,3}}([{mark}]\d{{2,3}})+[{mark}]\d{{3}}$|{_grouped(mark)}[{other}]\d*$"
    spaced = rf"^\d{{1,3}}(?:{_SPACES}\d{{3}})+[{mark}]\d+$"
    return _single(mark), several, rf"^\d*[{mark}]\d*([eE][+-]?\d+)?$|{spaced}"


def _proven(marks: dict[str, _Marks]) -> set[str]:
    """The decimal marks that cells prove."""
    return {mark for mark in marks if marks[mark].decimal} | {
        "," if mark == "." else "." for mark in marks if marks[mark].several
    }


def _first(body: pa.ChunkedArray, pattern: str) -> int:
    """The first row that a pattern matches, or -1."""
    pc = arrow_functions()

    rows = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(body, pattern), False)))
    return int(rows[0]) if len(rows) else -1


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
    row = _first(pc.struct_field(amounts, "body"), _SPACED)
    return _also(form, "spaces or apostrophes separate thousands", row) if row >= 0 else form


def _also(form: NumberFormat, note: str, row: int) -> NumberFormat:
    """The format with one more note; the first note's row is its example."""
    return form._replace(note=f"{form.note}, {note}", row=form.row) if form.note else form._replace(note=note, row=row)
