"""Pandas frames and series with any index as plain frames: ids and times in columns, every name a distinct text."""

from __future__ import annotations

from typing import Any

from potstill.data.data_report import DataReport
from potstill.data.series.readers import distinct
from potstill.errors import UserError

ID, TIME, VALUE, INDEX = "unique_id", "ds", "y", "index"


def is_frame(data: Any) -> bool:
    """Whether data is a pandas frame or series, without importing pandas."""
    return hasattr(data, "to_parquet") or (hasattr(data, "to_frame") and hasattr(data, "index"))


def flat_frame(data: Any, name: str = "frame") -> Any:
    """A frame whose index levels are columns.

    Parameters
    ----------
    data
        A frame or a series. A level without a name becomes ``ds`` if it has times, else ``unique_id`` (``index`` if it
        is the only one). A level with the name of a column is left out if the column has the same values.
    name
        How messages call the frame.

    Returns
    -------
    pandas.DataFrame
        With a ``RangeIndex``. Columns of periods keep their type.

    Raises
    ------
    UserError
        For columns with several levels, or an index and a different column of one name.
    """
    import pandas as pd

    if isinstance(data, pd.Series):
        data = data.to_frame(VALUE if data.name is None else data.name)
    if data.columns.nlevels > 1:
        raise UserError(
            f"{name}: its columns have {data.columns.nlevels} levels; join them into one, such as"
            " frame.columns = frame.columns.map('_'.join).",
            key="data.column_levels",
        )
    columns = [str(column) for column in data.columns]
    levels = _levels(data.index, columns, name)
    frame = data.reset_index(drop=True).set_axis(distinct(columns, DataReport(), name), axis=1)
    for label, values in reversed(levels):
        if label in frame.columns:
            if not (values.array == frame[label].array).all():
                raise UserError(
                    f"{name}: the index and a column are both named {label!r} and differ; rename one of them.",
                    key="data.index_and_column",
                )
        else:
            frame.insert(0, label, values.array)
    return frame


def without_periods(frame: Any) -> Any:
    """The frame with periods as the timestamps of their first moments, which Arrow can hold."""
    import pandas as pd

    periods = {c: frame[c].dt.to_timestamp() for c in frame.columns if isinstance(frame[c].dtype, pd.PeriodDtype)}
    return frame.assign(**periods) if periods else frame


def _levels(index: Any, columns: list[str], name: str) -> list[tuple[str, Any]]:
    """The index levels that contain ids or times, with their names; none for plain row numbers."""
    import pandas as pd

    if index.nlevels == 1 and index.name is None and pd.api.types.is_integer_dtype(index.dtype):
        return []
    levels = []
    for place in range(index.nlevels):
        values = index.get_level_values(place)
        label = index.names[place]
        if label is None:
            timed = isinstance(values, (pd.DatetimeIndex, pd.PeriodIndex))
            label = TIME if timed else ID if index.nlevels > 1 else INDEX
        levels.append((str(label), values))
    labels = [label for label, _ in levels]
    if len(set(labels)) < len(labels):
        raise UserError(
            f"{name}: several levels of its index have no name or the same one; name them with rename_axis.",
            key="data.index_names",
        )
    return levels
