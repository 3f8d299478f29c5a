"""Pandas frames in place of paths: a frame is saved as Parquet, so that all data is read from files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from potstill.data.series.pandas_frames import flat_frame, is_frame, without_periods

FRAME_FILE = "frame.parquet"


@contextmanager
def saved_frames(options: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Path | None]]:
    """Options with a frame under ``data`` replaced by the path of a temporary Parquet file, and that path."""
    frame: Any = options.get("data")
    if not is_frame(frame):
        yield options, None
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / FRAME_FILE
        without_periods(flat_frame(frame)).to_parquet(path, index=False)
        yield {**options, "data": str(path)}, path
