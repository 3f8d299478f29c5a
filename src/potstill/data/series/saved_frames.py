"""Pandas frames in place of paths: a frame is saved as Parquet, so that all data is read from files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FRAME_FILE = "frame.parquet"


@contextmanager
def saved_frames(options: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Path | None]]:
    """Options with a frame under ``data`` replaced by the path of a temporary Parquet file, and that path."""
    frame: Any = options.get("data")
    if not hasattr(frame, "to_parquet"):
        yield options, None
        return
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / FRAME_FILE
        plain = frame if frame.index.name is None and frame.index.dtype.kind == "i" else frame.reset_index()
        plain.to_parquet(path, index=False)
        yield {**options, "data": str(path)}, path
