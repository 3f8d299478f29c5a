"""Data in memory as an Arrow table: frames with any index, arrays of unequal length, GluonTS lists, Arrow tables.

The index of a pandas frame becomes columns, which the table's pandas metadata names; ``Sheet.of`` reads them there.
What has one entry per series becomes a table with lists, which ``nested.sheet_of_table`` unrolls.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from potstill.data.series.nested import FREQ, ITEM, START, TARGET, TIME
from potstill.data.series.pandas_frames import flat_frame
from potstill.errors import UserError
from potstill.recipe import DataConfig

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_FORMS = "a pandas or polars frame, an Arrow table, arrays, or a list of {'start', 'target', …}"


def is_in_memory(data: Any) -> bool:
    """Whether data is given as values rather than as paths or settings."""
    if data is None or isinstance(data, (str, Path, DataConfig)):
        return False
    return not (isinstance(data, (list, tuple)) and all(isinstance(item, (str, Path)) for item in data))


def table_of(data: Any, name: str) -> pa.Table:
    """Data in memory as an Arrow table.

    Parameters
    ----------
    data
        A pandas frame or series with any index, a polars frame, an Arrow table or whatever exports one, a data set of
        ``datasets``, an array (one series, or one per row), a list or dictionary of arrays of any lengths or of series,
        or a GluonTS list of dictionaries with ``target`` and optionally ``start``, ``freq`` and ``item_id``.
    name
        For messages.

    Raises
    ------
    UserError
        The data has no rows, mixes types, or is of another form.
    """
    import pandas as pd

    if isinstance(data, (pd.DataFrame, pd.Series)):
        table = _of_frame(data, name)
    elif (exported := _exported(data)) is not None:
        table = exported
    elif isinstance(data, Mapping):
        table = _of_mapping(data, name)
    else:
        table = _of_list(_items(data, name), name)
    if not table.num_rows:
        raise UserError(f"{name}: the data has no rows; use data with rows.", key="data.empty_frame")
    return table


def _of_frame(data: pd.DataFrame | pd.Series, name: str) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    frame, index = flat_frame(data, name)
    periods = {c: frame[c].dt.to_timestamp() for c in frame if isinstance(frame[c].dtype, pd.PeriodDtype)}
    mixed = {c: frame[c].map(str, na_action="ignore") for c in frame if _mixes_text_and_numbers(frame[c])}
    frame = frame.assign(**periods, **mixed)
    try:
        return pa.Table.from_pandas(frame.set_index(index) if index else frame, preserve_index=bool(index))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name}: a column of the frame mixes types ({reason}); convert it to numbers.", key="data.mixed_types"
        ) from None


def _mixes_text_and_numbers(column: Any) -> bool:
    kinds = {type(cell) for cell in column.dropna()} if column.dtype.kind == "O" else set()
    return len(kinds) > 1 and str in kinds and all(issubclass(kind, (str, numbers.Number)) for kind in kinds)


def _exported(data: Any) -> pa.Table | None:
    """The Arrow table of polars, ``datasets``, pyarrow and others that export one; None for anything else."""
    import pyarrow as pa

    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "collect_schema") and hasattr(data, "collect"):  # a lazy frame of polars
        data = data.collect()
    if hasattr(data, "with_format") and hasattr(data, "column_names"):  # a data set of `datasets`
        return data.with_format("arrow")[:]
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    return data.to_arrow() if hasattr(data, "to_arrow") else None


def _of_mapping(data: Mapping[Any, Any], name: str) -> pa.Table:
    """A dictionary of columns if one of them has times or text, else of series by their names."""
    import pandas as pd

    columns = {str(key): _array(value, f"{name}: {key!r}") for key, value in data.items()}
    lengths = {len(column) for column in columns.values() if column.ndim == 1}
    if len(lengths) == 1 and any(column.dtype.kind in "MUOS" for column in columns.values()):
        return _of_frame(pd.DataFrame(dict(data)), name)
    return _of_list([{ITEM: key, TARGET: column} for key, column in columns.items()], name)


def _items(data: Any, name: str) -> list[Any]:
    """What has one entry per series, as a list: rows of an array, entries of a list or of a GluonTS data set."""
    if hasattr(data, "__array__") or hasattr(data, "detach"):
        array = _array(data, name)
        return [array] if array.ndim == 1 else list(array)
    if not isinstance(data, Iterable):
        raise UserError(f"{name}: a {type(data).__name__} is no data; give {_FORMS}.", key="data.unknown_form")
    items = list(data)
    if items and all(isinstance(item, numbers.Number) for item in items):
        return [np.asarray(items, float)]
    return items


def _of_list(items: list[Any], name: str) -> pa.Table:
    """One row per series, with its values in a list."""
    import pyarrow as pa

    if not items:
        raise UserError(f"{name}: the data has no rows; use data with rows.", key="data.empty_frame")
    entries = [_entry(item, place, name) for place, item in enumerate(items)]
    keys = list(dict.fromkeys(key for entry in entries for key in entry))
    known = [key for key in (ITEM, START, FREQ, TIME, TARGET) if key in keys]
    try:
        return pa.table({key: pa.array([_listed(entry.get(key)) for entry in entries]) for key in known})
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{name}: the series are of different types ({reason}); give all in one form.", key="data.mixed_types"
        ) from None


def _entry(item: Any, place: int, name: str) -> dict[str, Any]:
    """A series as a dictionary of GluonTS with a text id; ``freq`` may be that of a period."""
    import pandas as pd

    where = f"{name} entry {place}"
    if isinstance(item, pd.Series):
        label = item.name if item.name is not None else place
        timed = isinstance(item.index, (pd.DatetimeIndex, pd.PeriodIndex))
        stamps = item.index.to_timestamp() if isinstance(item.index, pd.PeriodIndex) else item.index
        item = {ITEM: label, TARGET: item.to_numpy(), **({TIME: stamps.to_numpy()} if timed else {})}
    if isinstance(item, pd.DataFrame):
        raise UserError(
            f"{where}: is a frame; give one frame with an id column, such as pd.concat with keys makes.",
            key="data.list_of_frames",
        )
    if not isinstance(item, Mapping):
        item = {TARGET: item}
    if TARGET not in item:
        raise UserError(
            f"{where}: has no {TARGET!r}; found: {', '.join(map(str, item)) or 'nothing'}.", key="data.no_target_entry"
        )
    entry = dict(item)
    entry[ITEM] = str(next((item[key] for key in (ITEM, "id", "unique_id") if item.get(key) is not None), place))
    entry[TARGET] = _numbers(item[TARGET], f"{where}: {TARGET!r}")
    start = item.get(START)
    if isinstance(start, pd.Period):
        entry[START], entry[FREQ] = start.to_timestamp(), item.get(FREQ) or start.freqstr
    elif start is not None:
        try:
            entry[START] = pd.Timestamp(start)
        except (ValueError, TypeError) as error:
            raise UserError(f"{where}: {START!r} is no timestamp ({error}).", key="data.unreadable_time") from None
    if entry.get(FREQ) is not None:
        entry[FREQ] = str(getattr(entry[FREQ], "freqstr", entry[FREQ]))
    return entry


def _array(value: Any, where: str) -> np.ndarray:
    """Values as an array of one or two dimensions. Raises UserError for anything else."""
    try:
        array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
        if array.dtype.kind == "O":  # None and numbers
            array = array.astype(float) if all(not isinstance(v, str) for v in array.ravel()) else array
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{where}: is no array of numbers ({str(error).splitlines()[0]}); give {_FORMS}.", key="data.no_array"
        ) from None
    if array.ndim not in (1, 2, 3) or array.dtype.kind not in "biufMUOS":
        raise UserError(f"{where}: is no array of numbers; give {_FORMS}.", key="data.no_array")
    return array


def _numbers(value: Any, where: str) -> np.ndarray:
    """A series as float64: ``[T]``, or ``[D, T]`` for several columns."""
    array = _array(value, where)
    if array.ndim > 2 or array.dtype.kind not in "biuf":
        raise UserError(f"{where}: is no series of numbers; give {_FORMS}.", key="data.no_array")
    return array.astype(float)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, np.ndarray) and value.ndim > 1 else value
