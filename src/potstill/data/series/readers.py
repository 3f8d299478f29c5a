"""Read files into tables: CSV (plain or gzip) and Parquet. There is one function per format."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from potstill.data.data_report import DataReport
from potstill.data.embedded import embedded_file
from potstill.data.files import DataSource, choose_files, readable
from potstill.data.series.quotes import swallowed
from potstill.errors import UserError
from potstill.recipe.notation import is_embedded

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_ENDINGS = (".csv", ".csv.gz", ".parquet")
_BLOCK = 16 << 20  # bytes parsed at a time; a row cannot be longer
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


@dataclass
class Sheet:
    """A file's content: an Arrow table (CSV cells as strings, null where empty), and the position of its rows."""

    label: str
    table: pa.Table
    decimal_comma: bool = False
    skipped: list[int] = field(default_factory=list)
    header_lines: int | None = None

    def without(self, columns: list[str]) -> Sheet:
        """The sheet without some columns."""
        return replace(self, table=self.table.drop_columns(columns)) if columns else self

    def place(self, row: int) -> str:
        """``line 17`` of a text file, ``row 16`` of a table."""
        if self.header_lines is None:
            return f"row {row + 1}"
        line = row + self.header_lines + 1
        for skipped in self.skipped:
            line += skipped <= line
        return f"line {line}"


def find_sources(
    paths: Sequence[str], exclude: Sequence[str], max_files: int | None, report: DataReport
) -> list[DataSource]:
    """List the files of ``paths``: directories are searched recursively in sorted order; ``embedded`` is the data set
    that is included in Potstill.

    Raises
    ------
    UserError
        A path does not exist, a directory has no data files, or a file ending is unknown.
    """
    if not paths:
        raise UserError(
            "No data given; name CSV or Parquet files or directories with --data or data.paths.", key="data.no_paths"
        )
    return choose_files(paths, _expand, TABLE_ENDINGS, exclude, max_files, report)


def read_sheet(path: Path, report: DataReport, name: str) -> Sheet:
    """Read a whole file; its ending decides the format.

    Raises
    ------
    UserError
        The file is unreadable, empty or binary, has only a header, or every row has a wrong number of columns.
    """
    with readable(path):
        return _READERS[_ending(path)](path, report, name)


def _expand(entry: str) -> list[Path]:
    path = embedded_file(entry) if is_embedded(entry) else Path(entry).expanduser()
    if path.is_file():
        if _ending(path) is None:
            raise UserError(
                f"{path}: expected a file ending in {', '.join(TABLE_ENDINGS)} or a directory of such files.",
                key="data.unknown_ending",
            )
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or directory; check --data.", key="data.no_such_file")
    files = sorted(p for p in path.rglob("*") if _ending(p) and p.is_file() and not p.name.startswith("."))
    if not files:
        raise UserError(
            f"{path}: the directory has no {', '.join(TABLE_ENDINGS)} files; name a directory with data.",
            key="data.no_data_files",
        )
    return files


def _ending(path: Path) -> str | None:
    return next((e for e in TABLE_ENDINGS if path.name.lower().endswith(e)), None)


def _read_parquet(path: Path, report: DataReport, name: str) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"{path}: is not a readable Parquet file ({str(error).splitlines()[0]}); write it again.",
            key="data.unreadable_parquet",
        ) from None
    if not table.num_rows:
        raise UserError(f"{path}: has no rows; leave the file out or add data.", key="data.empty_file")
    return Sheet(str(path), plain(table.rename_columns(distinct(table.column_names, report, name))))


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


def _read_csv(path: Path, report: DataReport, name: str) -> Sheet:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    text = _utf8(path, report, name)
    first = text[: text.find(b"\n") + 1 or len(text)].decode()
    delimiter = max(",;\t|", key=first.count)
    try:
        header, header_lines = _header(first, delimiter, report, name)
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
                null_values=MISSING_CELLS,
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
    lines = [line for line, _ in ragged]
    return Sheet(str(path), table.rename_columns(header), delimiter == ";", lines, header_lines)


def _check_quotes(path: Path, text: bytes, delimiter: str, columns: int) -> None:
    """Raise an error for a stray quote that swallows rows; quoted text of several lines and blank lines are valid."""
    quote = swallowed(text, delimiter, columns) if b'"' in text else None
    if quote is not None:
        raise UserError(
            f"{path} line {quote.first}: a quote opens here and closes only in line {quote.last}, and the lines between"
            " are rows of the table; remove the stray quote.",
            key="data.stray_quote",
        )


def _header(first: str, delimiter: str, report: DataReport, name: str) -> tuple[list[str], int]:
    """Unique column names, and the number of lines they take: 0 if the first line contains values."""
    fields = [f.strip() for f in next(csv.reader(io.StringIO(first), delimiter=delimiter))]
    numbers = [_is_number(f) for f in fields]
    counts_up = fields == [str(i) for i in range(len(fields))] and len(fields) > 1
    if (all(numbers) and not counts_up) or (len(fields) > 1 and all(numbers[1:]) and _is_date(fields[0])):
        report.add_note(f"{name}: the first line contains values, not names; columns are named column_0 …")
        return [f"column_{i}" for i in range(len(fields))], 0
    return distinct(fields, report, name), 1


def distinct(columns: Sequence[str], report: DataReport, name: str) -> list[str]:
    """Column names made distinct: a second ``x`` becomes ``x.1``."""
    used: Counter[str] = Counter()
    names = []
    for text in columns:
        used[text] += 1
        if used[text] == 2 and text:
            report.add_note(f"{name}: the column name {text!r} is used twice; later ones are numbered")
        names.append(text if used[text] == 1 else f"{text}.{used[text] - 1}")
    return names


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
        report.add_note(f"{name}: not UTF-8, read as Latin-1")
        data = data.decode("latin-1").encode()
    return data if b"\n" in data else data.replace(b"\r", b"\n")


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


_READERS: dict[str | None, Callable[[Path, DataReport, str], Sheet]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
}
