"""Parquet files, Arrow files, and folders written by ``save_to_disk`` of the library ``datasets``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from potstill.data.data_report import DataReport
from potstill.data.series.nested import sheet_of_table
from potstill.data.series.sheet import Sheet
from potstill.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# `Dataset.save_to_disk` writes both into the folder of the rows
SAVED_STATE, SAVED_INFO = "state.json", "dataset_info.json"
_FILE_FORMAT, _FEATHER_1 = b"ARROW1", b"FEA1"  # the first bytes of a file; a stream has no such mark


def read_parquet(path: Path, report: DataReport, name: str) -> Sheet:
    """Read a Parquet file. Raises UserError as ``readers.read_sheet`` does."""
    import pyarrow.parquet as parquet

    return _sheet(path, lambda: parquet.ParquetFile(path).read(), "Parquet", report, name)


def read_arrow(path: Path, report: DataReport, name: str) -> Sheet:
    """Read an Arrow file: the file format (Feather) or the stream format. Raises UserError as ``read_sheet`` does."""
    return _sheet(path, lambda: _arrow_table(path), "Arrow", report, name)


def read_saved(path: Path, report: DataReport, name: str) -> Sheet:
    """Read a folder that ``Dataset.save_to_disk`` wrote. Raises UserError as ``readers.read_sheet`` does."""
    import pyarrow as pa

    def read() -> pa.Table:
        return pa.concat_tables([_arrow_table(shard) for shard in _shards(path)])

    return _sheet(path, read, "datasets", report, name)


def _shards(folder: Path) -> list[Path]:
    """The files of a saved data set, in the order of its state; a missing one is a usage error."""
    try:
        state = json.loads((folder / SAVED_STATE).read_text(encoding="utf-8"))
        files = [folder / entry["filename"] for entry in state["_data_files"]]
    except (ValueError, KeyError, TypeError):
        files = []
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        what = f"{missing[0]} is missing" if missing else f"{SAVED_STATE} names no files"
        raise UserError(
            f"{folder}: is not a complete data set ({what}); write it again with save_to_disk.",
            key="data.incomplete_saved",
        )
    return files


def _arrow_table(path: Path) -> pa.Table:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        start = source.read(len(_FILE_FORMAT))
        if start.startswith(_FEATHER_1):
            raise pa.ArrowInvalid("it has version 1 of the Feather format; version 2 is read")
        source.seek(0)
        opened = pa.ipc.open_file(source) if start == _FILE_FORMAT else pa.ipc.open_stream(source)
        return opened.read_all()


def _sheet(path: Path, read: Callable[[], pa.Table], kind: str, report: DataReport, name: str) -> Sheet:
    import pyarrow as pa

    try:
        table = read()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise UserError(
            f"{path}: is not a readable {kind} file ({str(error).splitlines()[0]}); write it again.",
            key=f"data.unreadable_{kind.lower()}",
        ) from None
    if not table.num_rows:
        raise UserError(f"{path}: has no rows; leave the file out or add data.", key="data.empty_file")
    return sheet_of_table(str(path), table, report, name)
