"""Data as Python callers give it: paths, a pandas frame, or a DataConfig."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.data.store import Store, open_store, store_from_frame
from potstill.recipe import DataConfig


def store_of(data: Any, target: list[str] | None = None) -> tuple[Store, DataConfig]:
    """The store of data in any of these forms, and the settings that go with it.

    Parameters
    ----------
    data
        A path or several, a pandas frame (wide or long), or a DataConfig, whose own target then counts.
    target
        Columns to take; default: every numeric one.
    """
    if hasattr(data, "to_parquet"):
        config = DataConfig(target=target)
        return store_from_frame(data, config), config
    if not isinstance(data, DataConfig):
        paths = [data] if isinstance(data, (str, Path)) else data
        data = DataConfig(paths=[str(path) for path in paths], target=target)
    return open_store(data), data
