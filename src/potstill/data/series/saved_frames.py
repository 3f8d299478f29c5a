"""Data in memory in place of paths: it is saved as Parquet, so that all data is read from files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from potstill.data.series.in_memory import is_in_memory, table_of

FRAME_FILE = "frame.parquet"


@contextmanager
def saved_frames(options: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Path | None]]:
    """Options with data in memory replaced by the path of a temporary Parquet file, and that path."""
    data = options.get("data")
    if not is_in_memory(data):
        yield options, None
        return
    import pyarrow.parquet as parquet

    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / FRAME_FILE
        parquet.write_table(table_of(data, "frame"), path)
        yield {**options, "data": str(path)}, path
