"""Read files into records; a file's ending decides the reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from potstill.data.files import readable
from potstill.data.text.files import ending_of
from potstill.data.text.io import BROKEN_GZIP, Record
from potstill.data.text.json_records import read_json, read_lines
from potstill.data.text.tables import read_csv, read_paragraphs, read_parquet, read_saved
from potstill.errors import UserError

_READERS: dict[str | None, Callable[[Path], Iterator[Record]]] = {
    ".json": read_json,
    ".jsonl": read_lines,
    ".csv": read_csv,
    ".parquet": read_parquet,
    ".txt": read_paragraphs,
}


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file or of a saved data set's folder, in order.

    Raises
    ------
    UserError
        The file is unreadable, empty, not UTF-8 or not valid JSON.
    """
    with readable(path):
        try:
            yield from (read_saved if path.is_dir() else _READERS[ending_of(path)])(path)
        except BROKEN_GZIP:
            raise UserError(
                f"{path}: is not a complete gzip file; compress it again.", key="data.unreadable_gzip"
            ) from None
