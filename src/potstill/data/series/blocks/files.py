"""Read CSV and Parquet files as blocks of rows."""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from potstill.data.data_report import DataReport
from potstill.data.series.blocks.refusal import NotInBlocks
from potstill.data.series.csv_files import delimiter_of, header_of
from potstill.data.series.nested import sheet_of_table
from potstill.data.series.sheet import Sheet

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

LARGE = 256 << 20  # bytes of text, or of uncompressed Parquet columns: larger files are read in blocks
BLOCK = 16 << 20  # bytes of a block
_PROBE = 1 << 20  # bytes of text that must have the first lines
_COMPRESSED = 4  # bytes of text in a byte of gzip, at most
_SPLIT = "split the file, or correct it"


class BlockFile(Protocol):
    """A file whose rows are read in blocks; ``size`` and ``done`` are bytes, for the progress."""

    size: int
    done: int

    def blocks(self) -> Iterator[pa.Table]:
        """The rows, from the first one on; may be called again."""
        ...

    def sheet(self, table: pa.Table) -> Sheet:
        """The sheet of some rows."""
        ...

    def note(self, report: DataReport, name: str) -> None:
        """Report what reading repaired."""
        ...


def large_file(path: Path) -> BlockFile | None:
    """The file if it is a large CSV or Parquet file, else None.

    Raises
    ------
    NotInBlocks
        The file is large and must be read as a whole.
    OSError
        The file cannot be read.
    """
    lower = path.name.lower()
    if path.is_dir():
        return None
    if lower.endswith((".csv", ".csv.gz")):
        packed = _COMPRESSED if lower.endswith(".gz") else 1
        return _CsvFile(path) if path.stat().st_size * packed > LARGE else None
    return _parquet_file(path) if lower.endswith(".parquet") else None


class _Text:
    """The bytes of a text file, unpacked and counted, for Arrow to read."""

    def __init__(self, file: BinaryIO, packed: BinaryIO):
        self.file, self.packed = file, packed
        self.lines, self.last, self.quoted, self.closed = 0, b"", False, False

    def read(self, size: int = -1) -> bytes:
        try:
            data = self.file.read(min(size, BLOCK) if size >= 0 else BLOCK)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise NotInBlocks("it is not a complete gzip file", _SPLIT) from None
        if b"\0" in data:
            raise NotInBlocks("it is binary", _SPLIT)
        self.lines += data.count(b"\n")
        self.quoted = self.quoted or b'"' in data
        self.last = data[-1:] or self.last
        return data

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


class _CsvFile:
    def __init__(self, path: Path):
        self.path = path
        self.size, self.done = path.stat().st_size, 0
        self.ragged: list[tuple[int, int]] = []
        with self._open() as file:
            try:
                probe = file.read(max(_PROBE, BLOCK))
            except (gzip.BadGzipFile, EOFError, zlib.error):
                raise NotInBlocks("it is not a complete gzip file", _SPLIT) from None
        probe = probe.removeprefix(b"\xef\xbb\xbf")
        control = sum(byte < 9 or 13 < byte < 32 for byte in probe[:4096])
        if b"\n" not in probe or probe[:1] in b"\r\n" or probe[:2] in (b"\xff\xfe", b"\xfe\xff") or control:
            raise NotInBlocks("its first lines are not plain text", _SPLIT)
        first = probe[: probe.find(b"\n") + 1]
        try:
            self.delimiter = delimiter_of(probe[: probe.rfind(b"\n")], first.decode())
            self.header, self.header_lines = header_of(first.decode(), self.delimiter, DataReport(), "")
        except (csv.Error, UnicodeDecodeError):
            raise NotInBlocks("its header is not plain text", _SPLIT) from None
        self.first = first.decode()

    def blocks(self) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.csv as arrow_csv

        self.ragged, rows = [], 0
        with self.path.open("rb") as packed, self._open(packed) as file:
            text = _Text(file, packed)
            try:
                reader = arrow_csv.open_csv(pa.PythonFile(text, mode="r"), *self._options())
                for batch in reader:
                    self.done = packed.tell()
                    rows += batch.num_rows
                    yield pa.Table.from_batches([batch]).rename_columns(self.header)
            except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
                raise NotInBlocks(f"it is not plain CSV ({str(error).splitlines()[0]})", _SPLIT) from None
        lines = text.lines + (text.last != b"\n") - self.header_lines
        if text.quoted and rows + len(self.ragged) < lines:
            raise NotInBlocks("it has quoted cells of several lines, or empty lines", "write every row as one line")

    def sheet(self, table: pa.Table) -> Sheet:
        skipped = [line for line, _ in self.ragged]
        return Sheet.of(
            str(self.path), table, delimiter=self.delimiter, skipped=skipped, header_lines=self.header_lines
        )

    def note(self, report: DataReport, name: str) -> None:
        header_of(self.first, self.delimiter, report, name)
        if self.ragged:
            report.add_repaired("ragged rows left out", f"{name} (first: line {self.ragged[0][0]})", len(self.ragged))

    def _open(self, packed: BinaryIO | None = None) -> BinaryIO:
        file = packed or self.path.open("rb")
        if not self.path.name.lower().endswith(".gz"):
            return file
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))

    def _options(self) -> tuple[arrow_csv.ReadOptions, arrow_csv.ParseOptions, arrow_csv.ConvertOptions]:
        import pyarrow as pa
        import pyarrow.csv as arrow_csv

        def skip(row: arrow_csv.InvalidRow) -> str:
            self.ragged.append((row.number or 0, row.actual_columns))
            return "skip"

        names = [str(i) for i in range(len(self.header))]
        return (
            arrow_csv.ReadOptions(column_names=names, skip_rows=self.header_lines, use_threads=False, block_size=BLOCK),
            arrow_csv.ParseOptions(delimiter=self.delimiter, invalid_row_handler=skip),
            arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, null_values=[""], strings_can_be_null=True
            ),
        )


def _parquet_file(path: Path) -> BlockFile | None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None  # the reader of whole files says why
    size = max(sum(groups), os.path.getsize(path))
    return _ParquetFile(path, size) if size > LARGE else None


class _ParquetFile:
    def __init__(self, path: Path, size: int):
        self.path, self.size, self.done = path, size, 0

    def blocks(self) -> Iterator[pa.Table]:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        try:
            with parquet.ParquetFile(self.path, buffer_size=1 << 20, pre_buffer=False) as file:
                total = max(file.metadata.num_rows, 1)
                rows, seen = max(BLOCK // max(8 * len(file.schema_arrow), self.size // total), 1), 0
                for batch in file.iter_batches(rows, use_threads=False):
                    seen += batch.num_rows
                    self.done = self.size * seen // total
                    table = pa.Table.from_batches([batch])
                    yield table.replace_schema_metadata(file.schema_arrow.metadata)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise NotInBlocks(f"it is not plain Parquet ({str(error).splitlines()[0]})", _SPLIT) from None

    def sheet(self, table: pa.Table) -> Sheet:
        return sheet_of_table(str(self.path), table, DataReport(), "")

    def note(self, report: DataReport, name: str) -> None:
        """Nothing is repaired while a Parquet file is read; names of columns used twice are noted with the sheet."""
