"""Open data given from Python: paths, a pandas frame, or the data section of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.data.series.pandas_frames import is_frame
from potstill.data.series.store import Store, open_store, store_from_frame
from potstill.errors import UserError
from potstill.recipe import DataConfig, ForecastRecipe, SeriesData


def store_of(data: Any, target: list[str] | None = None) -> tuple[Store, SeriesData]:
    """Open the store of data in any of these forms; returns it with its settings.

    Parameters
    ----------
    data
        One or more paths, a pandas frame (wide or long), or a data section, whose own ``target`` is used.
    target
        Columns to take; default: every numeric one.
    """
    if is_frame(data):
        config = SeriesData(target=target)
        return store_from_frame(data, config), config
    config = series_data(config_of(data))
    if not isinstance(data, DataConfig):
        config.target = target
    return open_store(config), config


def series_data(data: DataConfig) -> SeriesData:
    """Convert data settings to those of time series. Raises UserError for settings that only text has."""
    if isinstance(data, SeriesData):
        return data
    return ForecastRecipe.lay_over({"data": data.model_dump(exclude_unset=True)}, {}).data


def config_of(data: Any) -> DataConfig:
    """The settings of data in files: paths or a data section. Raises UserError for a frame."""
    if isinstance(data, DataConfig):
        return data
    if is_frame(data):
        raise UserError(
            "data: a pandas frame cannot be used for text; write it with to_parquet and give the file's path.",
            key="data.frame_of_text",
        )
    paths = [data] if isinstance(data, (str, Path)) else data
    return DataConfig(paths=[str(path) for path in paths])
