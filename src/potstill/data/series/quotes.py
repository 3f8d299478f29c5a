"""Stray quotes in CSV files: a parser reads all lines from such a quote to the next one as the text of one cell."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import NamedTuple

_NUMBER = re.compile(r"[\d\s.,:+/TZeE%-]*\d[\d\s.,:+/TZeE%-]*")  # a number, date or time of day in any notation
_SAMPLE = 200  # rows that decide which columns are numeric


class Swallowed(NamedTuple):
    """A quote that opens in line ``first`` and closes in line ``last`` (both counted from 1)."""

    first: int
    last: int


class _Record(NamedTuple):
    first: int
    cells: list[str]
    lines: list[str]


def swallowed(text: bytes, delimiter: str, columns: int) -> Swallowed | None:
    """Find the first quoted cell with line breaks that contains rows of the table rather than text; None without one.

    A cell contains rows if its column is numeric in most rows, or if at least half of the cell's lines are complete
    rows: as many cells as the header, and numbers in the numeric columns.
    """
    records = list(_sample_and_multiline(text, delimiter))
    plain = [record.cells for record in records if len(record.lines) == 1 and len(record.cells) == columns][:_SAMPLE]
    if not plain:  # a quote may have swallowed every row: then look at the lines themselves
        split = [_split(line, delimiter) for record in records for line in record.lines]
        whole = [cells for cells in split if len(cells) == columns]
        plain = whole[:_SAMPLE] if len(whole) > 0.8 * len(split) else []
    is_numeric = [_mostly_numbers([cells[k] for cells in plain]) for k in range(columns)]
    for record in records:
        if len(record.lines) > 1 and _contains_rows(record, delimiter, is_numeric):
            return Swallowed(record.first, record.first + len(record.lines) - 1)
    return None


def _sample_and_multiline(text: bytes, delimiter: str) -> Iterator[_Record]:
    """The first rows, and every row that spans more than one line."""
    lines: list[str] = []

    def recorded_lines() -> Iterator[str]:
        for line in io.StringIO(text.decode(), newline=""):
            lines.append(line)
            yield line

    limit = csv.field_size_limit(len(text) + 1)  # a stray quote can make one cell of half the file
    try:
        seen, number = 0, 1
        for cells in csv.reader(recorded_lines(), delimiter=delimiter):
            if number > 1 and (len(lines) > 1 or seen < _SAMPLE):
                yield _Record(number, cells, lines.copy())
                seen += len(cells) > 0
            number += len(lines)
            lines.clear()
    finally:
        csv.field_size_limit(limit)


def _contains_rows(record: _Record, delimiter: str, is_numeric: list[bool]) -> bool:
    broken = ["\n" in cell for cell in record.cells]
    if any(number and cut for number, cut in zip(is_numeric, broken, strict=False)):
        return True
    whole = sum(_is_row(line, delimiter, is_numeric) for line in record.lines)
    return any(is_numeric) and whole >= 2 and whole >= len(record.lines) / 2


def _is_row(line: str, delimiter: str, is_numeric: list[bool]) -> bool:
    cells = _split(line, delimiter)
    if len(cells) != len(is_numeric):
        return False
    expected = [cell for cell, number in zip(cells, is_numeric, strict=True) if number and cell]
    return all(_NUMBER.fullmatch(cell) for cell in expected)


def _split(line: str, delimiter: str) -> list[str]:
    """The cells of a line, ignoring quotes."""
    return [cell.strip() for cell in line.replace('"', "").split(delimiter)]


def _mostly_numbers(cells: list[str]) -> bool:
    filled = [cell.strip() for cell in cells if cell.strip()]
    return bool(filled) and 2 * sum(_NUMBER.fullmatch(cell) is not None for cell in filled) > len(filled)
