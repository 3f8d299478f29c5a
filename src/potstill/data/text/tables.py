"""Read records of CSV, Parquet, paragraphs of plain text, and data sets saved by ``datasets``."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from pathlib import Path

from potstill.data.text.io import Record, text_of
from potstill.errors import UserError

_BATCH_ROWS = 1024  # rows read at a time


def read_csv(path: Path) -> Iterator[Record]:
    """The rows below a header; a quoted cell may contain line breaks."""
    text = text_of(path)
    delimiter = max(",;\t|", key=text.lstrip("\r\n").split("\n", 1)[0].count)
    csv.field_size_limit(sys.maxsize)  # an answer may be longer than the 128 KB that csv allows
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header: list[str] = []
    first = 1
    while True:
        try:
            cells = next(rows, None)
        except csv.Error as error:
            raise UserError(
                f"{path} line {first}: is not CSV ({error}); check quotes and separators.", key="data.unreadable_csv"
            ) from None
        if cells is None:
            return
        place, first = f"line {first}", rows.line_num + 1
        if not any(cells):
            continue
        if not header:
            header = [name.strip() for name in cells]
        elif len(cells) != len(header):
            yield Record(place, {}, "more or fewer columns than the header")
        else:
            yield Record(place, dict(zip(header, cells, strict=True)))


def read_parquet(path: Path) -> Iterator[Record]:
    """The rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches(batch_size=_BATCH_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield Record(f"row {number}", row)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(
            f"{path}: is not a readable Parquet file ({str(error).splitlines()[0]}); write it again.",
            key="data.unreadable_parquet",
        ) from None


def read_paragraphs(path: Path) -> Iterator[Record]:
    """The paragraphs of plain text, separated by blank lines; each is a record."""
    lines: list[str] = []
    first = 1
    for number, line in enumerate([*text_of(path).replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""], 1):
        if line.strip():
            first = first if lines else number
            lines.append(line)
        elif lines:
            yield Record(f"line {first}", {"text": "\n".join(lines)})
            lines = []


def read_saved(path: Path) -> Iterator[Record]:
    """The rows of a data set that ``datasets.Dataset.save_to_disk`` wrote."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{path}: is a data set saved by the package datasets; install it with `pip install datasets`.",
            key="environment.missing_package",
        ) from None
    try:
        rows = datasets.load_from_disk(str(path))
        for number, row in enumerate(rows, 1):
            yield Record(f"row {number}", dict(row))
    except (ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: is not a data set that datasets can load ({reason}); save it again.",
            key="data.unreadable_saved_dataset",
        ) from None
