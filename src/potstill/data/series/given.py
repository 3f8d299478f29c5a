"""Data as Python callers give it: paths, a pandas frame, or a DataConfig."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.data.series.store import Store, open_store, store_from_frame
from potstill.errors import UserError
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
    config = config_of(data, target)
    return open_store(config), config


def config_of(data: Any, target: list[str] | None = None) -> DataConfig:
    """The settings of data that lie in files; arguments as for ``store_of``, but for frames."""
    if isinstance(data, DataConfig):
        return data
    if hasattr(data, "to_parquet"):
        raise UserError("data: a frame of texts is read from a file; write it with to_parquet and give its path.")
    paths = [data] if isinstance(data, (str, Path)) else data
    return DataConfig(paths=[str(path) for path in paths], target=target)
