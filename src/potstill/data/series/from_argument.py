"""Open data given from Python: paths, data in memory, or the data section of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from potstill.data.series.in_memory import is_in_memory
from potstill.data.series.opening import open_store, store_from_frame
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.recipe import DataConfig, ForecastRecipe, SeriesData

LIST_SETTINGS = {"target", "id_column", "known", "past"}  # for one column, its name will do


def store_of(data: Any, future: Any = None, **columns: Any) -> tuple[Store, SeriesData]:
    """Open the store of data in any of these forms; returns it with its settings.

    Parameters
    ----------
    data
        One or more paths, data in memory (see ``in_memory.table_of``), or a data section, whose own settings are used.
    future
        Known covariates after the last rows, see ``store.open_store``.
    columns
        Settings of the data section that choose columns, such as ``target`` and ``id_column``; None: the default.
    """
    given = {key: value for key, value in columns.items() if value is not None}
    for key in LIST_SETTINGS & given.keys():
        given[key] = [given[key]] if isinstance(given[key], str) else given[key]
    if is_in_memory(data):
        config = _settings({}, given)
        return store_from_frame(data, config, future=future), config
    section = config_of(data)
    config = series_data(section) if section is data else _settings({"paths": section.paths}, given)
    return open_store(config, future=future), config


def series_data(data: DataConfig) -> SeriesData:
    """Convert data settings to those of time series. Raises UserError for settings that only text has."""
    return data if isinstance(data, SeriesData) else _settings(data.model_dump(exclude_unset=True), {})


def _settings(section: dict[str, Any], options: dict[str, Any]) -> SeriesData:
    return ForecastRecipe.lay_over({"data": section}, {f"data.{key}": value for key, value in options.items()}).data


def config_of(data: Any) -> DataConfig:
    """The settings of data in files: paths or a data section. Raises UserError for data in memory."""
    if isinstance(data, DataConfig):
        return data
    if is_in_memory(data):
        raise UserError(
            "data: texts in memory cannot be used; write them to a Parquet file and give its path.",
            key="data.frame_of_text",
        )
    paths = [data] if isinstance(data, (str, Path)) else data
    return DataConfig(paths=[str(path) for path in paths])
