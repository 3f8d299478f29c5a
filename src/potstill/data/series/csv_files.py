"""CSV files, plain or gzip: encoding, separator, header, and rows that do not fit the header."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from potstill.data.data_report import DataReport
from potstill.data.series.quotes import swallowed
from potstill.data.series.sheet import Sheet, distinct
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow.csv as arrow_csv

_BLOCK = 16 << 20  # bytes parsed at a time; a row cannot be longer
_DELIMITERS = "\t;|,"  # a comma last: it also separates decimals
_PROBED = 20  # lines that decide the delimiter


def read_csv(path: Path, report: DataReport, name: str) -> Sheet:
    """Read a CSV file. Raises UserError as ``readers.read_sheet`` does."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    text = _utf8(path, report, name)
    first = text[: text.find(b"\n") + 1 or len(text)].decode()
    delimiter = delimiter_of(text, first)
    try:
        header, header_lines = header_of(first, delimiter, report, name)
    except csv.Error as error:
        raise UserError(
            f"{path} line 1: is not a CSV header ({error}); start the file with the column names.",
            key="data.unreadable_csv",
        ) from None
    ragged: list[tuple[int, int]] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        ragged.append((row.number or 0, row.actual_columns))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text),
            arrow_csv.ReadOptions(
                column_names=[str(i) for i in range(len(header))],
                skip_rows=header_lines,
                use_threads=False,
                block_size=_BLOCK,
            ),
            arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip),
            arrow_csv.ConvertOptions(
                column_types={str(i): pa.string() for i in range(len(header))},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        _check_quotes(path, text, delimiter, len(header))
        raise UserError(
            f"{path}: cannot be read as CSV ({str(error).splitlines()[0]}); check quotes and separators.",
            key="data.unreadable_csv",
        ) from None
    lines = text.count(b"\n") + (not text.endswith(b"\n")) - header_lines
    if table.num_rows + len(ragged) < lines:
        _check_quotes(path, text, delimiter, len(header))
    if not table.num_rows and ragged:
        line, columns = ragged[0]
        raise UserError(
            f"{path} line {line}: {columns} columns where the header has {len(header)}, and no row fits the header; "
            "write every row with the header's columns.",
            key="data.ragged_rows",
        )
    if not table.num_rows:
        raise UserError(f"{path}: has a header and no rows; leave the file out or add data.", key="data.empty_file")
    if ragged:
        report.add_repaired("ragged rows left out", f"{name} (first: line {ragged[0][0]})", len(ragged))
    skipped = [line for line, _ in ragged]
    table = table.rename_columns(header)
    return Sheet.of(str(path), table, delimiter=delimiter, skipped=skipped, header_lines=header_lines)


def delimiter_of(text: bytes, first: str) -> str:
    """The character that separates as many cells in the first lines as in the header; else the header's commonest."""
    end = -1
    for _ in range(_PROBED):
        end = text.find(b"\n", end + 1)
        if end < 0:
            end = len(text)
            break
    probe = text[:end].decode(errors="replace")
    for delimiter in _DELIMITERS:
        try:
            widths = [len(cells) for cells in csv.reader(io.StringIO(probe), delimiter=delimiter) if cells]
        except csv.Error:
            continue
        if widths and widths[0] > 1 and sum(width == widths[0] for width in widths) > 0.9 * len(widths):
            return delimiter
    return max(",;\t|", key=first.count)


def _check_quotes(path: Path, text: bytes, delimiter: str, columns: int) -> None:
    """Raise an error for a stray quote that swallows rows; quoted text of several lines and blank lines are valid."""
    quote = swallowed(text, delimiter, columns) if b'"' in text else None
    if quote is not None:
        raise UserError(
            f"{path} line {quote.first}: a quote opens here and closes only in line {quote.last}, and the lines between"
            " are rows of the table; remove the stray quote.",
            key="data.stray_quote",
        )


def header_of(first: str, delimiter: str, report: DataReport, name: str) -> tuple[list[str], int]:
    """Unique column names, and the number of lines they take: 0 if the first line contains values."""
    fields = [f.strip() for f in next(csv.reader(io.StringIO(first), delimiter=delimiter))]
    numbers = [_is_number(f) for f in fields]
    counts_up = fields == [str(i) for i in range(len(fields))] and len(fields) > 1
    if (all(numbers) and not counts_up) or (len(fields) > 1 and all(numbers[1:]) and _is_date(fields[0])):
        report.add_note(f"{name}: the first line contains values, not names; columns are named column_0 …")
        return [f"column_{i}" for i in range(len(fields))], 0
    return distinct(fields, report, name), 1


def _utf8(path: Path, report: DataReport, name: str) -> bytes:
    """The file's text as UTF-8 without byte order mark or leading blank lines."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError(
            f"{path}: is not a complete gzip file; compress it again.", key="data.unreadable_gzip"
        ) from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not data.strip():
        raise UserError(f"{path}: is empty; leave the file out or add data.", key="data.empty_file")
    control = sum(byte < 9 or 13 < byte < 32 for byte in data[:4096])
    if b"\0" in data or control > 0.01 * min(len(data), 4096):
        raise UserError(f"{path}: is binary and contains no text; expected a CSV file.", key="data.binary_file")
    if not _is_utf8(data):
        text, encoding = _western(data)
        report.add_note(f"{name}: not UTF-8, read as {encoding}")
        data = text.encode()
    return data if b"\n" in data else data.replace(b"\r", b"\n")


def _western(data: bytes) -> tuple[str, str]:
    """Text in the encoding of western Windows, which has a euro sign; Latin-1 if a byte has no meaning there."""
    try:
        return data.decode("cp1252"), "Windows-1252 (Latin-1)"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "Latin-1"


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8; decoded in pieces, so that a large file is not copied."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    try:
        for first in range(0, len(data), _BLOCK):
            decoder.decode(view[first : first + _BLOCK])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_date(text: str) -> bool:
    return len(text) >= 8 and text[:4].isdigit() and text[4] in "-/" and not text[5:].isalpha()
