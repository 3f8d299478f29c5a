"""Files into tables: CSV (plain or gzip) and Parquet, found in trees, read one at a time; a format is a function."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from potstill.data.data_report import DataReport
from potstill.data.files import Source, choose_files, readable
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".csv", ".csv.gz", ".parquet")
EMBEDDED_DATA = Path(__file__).parents[2] / "assets" / "data"
_BLOCK = 16 << 20  # bytes parsed at a time; no row may be longer
NULLS = [
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
    """A file's content: an Arrow table (CSV cells as strings, null where empty), and how to name its rows."""

    label: str
    table: pa.Table
    decimal_comma: bool = False
    skipped: list[int] = field(default_factory=list)
    header_lines: int | None = None

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
) -> list[Source]:
    """The files behind ``paths``: files as given, directories searched recursively in sorted order, ``embedded`` the
    data set that ships with Potstill.

    Raises
    ------
    UserError
        A path that does not exist, a directory without data files, an ending that no reader knows.
    """
    if not paths:
        raise UserError("No data given; name CSV or Parquet files or directories with --data or data.paths.")
    return choose_files(paths, _expand, ENDINGS, exclude, max_files, report)


def read_sheet(path: Path, report: DataReport, name: str) -> Sheet:
    """Read one whole file by its ending.

    Raises
    ------
    UserError
        Where nothing can be made of it: unreadable, empty, header only, binary, every row ragged.
    """
    with readable(path):
        return _READERS[_ending(path)](path, report, name)


def _expand(entry: str) -> list[Path]:
    path = EMBEDDED_DATA if entry == "embedded" else Path(entry).expanduser()
    if path.is_file():
        if _ending(path) is None:
            raise UserError(f"{path}: expected a file ending in {', '.join(ENDINGS)} or a directory of such files.")
        return [path]
    if not path.is_dir():
        raise UserError(f"{path}: no such file or directory; check --data.")
    files = sorted(p for p in path.rglob("*") if _ending(p) and p.is_file() and not p.name.startswith("."))
    if not files:
        raise UserError(f"{path}: the directory holds no {', '.join(ENDINGS)} files; name one that does.")
    return files


def _ending(path: Path) -> str | None:
    return next((e for e in ENDINGS if path.name.lower().endswith(e)), None)


def _read_parquet(path: Path, report: DataReport, name: str) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{path}: is no readable Parquet file ({str(error).splitlines()[0]}); write it anew.") from None
    if not table.num_rows:
        raise UserError(f"{path}: holds no rows; leave it out or fill it.")
    return Sheet(str(path), plain(table.rename_columns(distinct(table.column_names, report, name))))


def plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries spelt out and all text of one Arrow type, as if it came from a CSV file."""
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
        raise UserError(f"{path} line 1: is no CSV header ({error}); start with the columns' names.") from None
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
                null_values=NULLS,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise UserError(
            f"{path}: cannot be read as CSV ({str(error).splitlines()[0]}); check quotes and separators."
        ) from None
    if not table.num_rows and ragged:
        line, columns = ragged[0]
        raise UserError(
            f"{path} line {line}: {columns} columns where the header has {len(header)}, and no row fits the header; "
            "give every row the header's columns."
        )
    if not table.num_rows:
        raise UserError(f"{path}: holds a header and no rows; leave it out or fill it.")
    if ragged:
        report.add_repaired("ragged rows left out", f"{name} (first: line {ragged[0][0]})", len(ragged))
    lines = [line for line, _ in ragged]
    return Sheet(str(path), table.rename_columns(header), delimiter == ";", lines, header_lines)


def _header(first: str, delimiter: str, report: DataReport, name: str) -> tuple[list[str], int]:
    """Column names, made unique, and how many lines they take: 0 where the first line holds values already."""
    fields = [f.strip() for f in next(csv.reader(io.StringIO(first), delimiter=delimiter))]
    numbers = [_is_number(f) for f in fields]
    counts_up = fields == [str(i) for i in range(len(fields))] and len(fields) > 1
    if (all(numbers) and not counts_up) or (len(fields) > 1 and all(numbers[1:]) and _is_date(fields[0])):
        report.add_note(f"{name}: the first line holds values, not names; columns are called column_0 …")
        return [f"column_{i}" for i in range(len(fields))], 0
    return distinct(fields, report, name), 1


def distinct(columns: Sequence[str], report: DataReport, name: str) -> list[str]:
    """Column names made distinct: a second ``x`` becomes ``x.1``."""
    used: Counter[str] = Counter()
    names = []
    for text in columns:
        used[text] += 1
        if used[text] == 2 and text:
            report.add_note(f"{name}: the column name {text!r} stands twice; later ones are numbered")
        names.append(text if used[text] == 1 else f"{text}.{used[text] - 1}")
    return names


def _utf8(path: Path, report: DataReport, name: str) -> bytes:
    """The file's text as UTF-8 without byte order mark or leading blank lines."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.name.lower().endswith(".gz") else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError(f"{path}: is no whole gzip file; compress it anew.") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not data.strip():
        raise UserError(f"{path}: is empty; leave it out or fill it.")
    control = sum(byte < 9 or 13 < byte < 32 for byte in data[:4096])
    if b"\0" in data or control > 0.01 * min(len(data), 4096):
        raise UserError(f"{path}: holds bytes that are no text; expected CSV.")
    if not _is_utf8(data):
        report.add_note(f"{name}: not UTF-8, read as Latin-1")
        data = data.decode("latin-1").encode()
    return data if b"\n" in data else data.replace(b"\r", b"\n")


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes decode; piece by piece, so that no second copy of a large file is made."""
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
