"""Pandas frames and series with any index as plain frames: ids and times in columns, every name a distinct text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from potstill.data.data_report import DataReport
from potstill.data.series.sheet import distinct
from potstill.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ID, TIME, VALUE = "unique_id", "ds", "y"


def flat_frame(data: pd.DataFrame | pd.Series, name: str) -> tuple[pd.DataFrame, list[str]]:
    """A frame whose index levels are its first columns, and their names.

    Parameters
    ----------
    data
        A frame or a series. A count of rows is no column. A level without a name becomes ``ds`` if it has times, else
        ``unique_id`` (``index`` if it is the only one). A column that has a level's name and values is left out.
    name
        For messages.

    Raises
    ------
    UserError
        An index and a column have one name and differ.
    """
    import pandas as pd

    if isinstance(data, pd.Series):
        data = data.to_frame(VALUE if data.name is None else data.name)
    if isinstance(data.columns, pd.MultiIndex):
        data = data.set_axis(["/".join(map(str, column)) for column in data.columns], axis=1)
    index = _levels(data.index, list(map(str, data.columns)))
    plain = data.reset_index(drop=True)
    for column in index.columns:
        if column not in plain.columns:
            continue
        if not _same(index[column], plain[column]):
            raise UserError(
                f"{name}: an index and a column are both named {column!r} and differ; rename one of them.",
                key="data.index_and_column",
            )
        plain = plain.drop(columns=column)
    frame = pd.concat([index, plain], axis=1) if index.shape[1] else plain
    columns = distinct([str(column) for column in frame.columns], DataReport(), name)
    return frame.set_axis(columns, axis=1), columns[: index.shape[1]]


def _levels(index: pd.Index, taken: list[str]) -> pd.DataFrame:
    """The index levels that contain ids or times, by their names; none for row numbers in any order."""
    import pandas as pd

    if index.nlevels == 1 and index.name is None and pd.api.types.is_integer_dtype(index.dtype):
        return pd.DataFrame(index=range(len(index)))
    levels = index.to_frame(index=False)
    names: list[str] = []
    for place, given in enumerate(index.names):
        names.append(str(given) if given is not None else _level_name(index, place, [*names, *taken]))
    return levels.set_axis(names, axis=1)


def _level_name(index: pd.Index, place: int, taken: list[Any]) -> str:
    """A name for a level without one."""
    import pandas as pd

    timed = isinstance(index.get_level_values(place), (pd.DatetimeIndex, pd.PeriodIndex))
    name = TIME if timed else ID if index.nlevels > 1 else "index"
    return name if name not in taken else f"level_{place}"


def _same(left: Any, right: Any) -> bool:
    """Whether an index level and a column of the same name agree; two columns of that name do not."""
    return getattr(right, "ndim", 2) == 1 and bool((left.astype(str) == right.astype(str)).all())
