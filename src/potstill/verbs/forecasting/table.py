"""The output table of ``potstill forecast``, in Potstill's layout or with the column names of another library."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from potstill.data.series.pandas_frames import flat_frame
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.verbs.forecasting.columns import TARGET, KeyColumns
from potstill.verbs.forecasting.series import BatchForecast, column_type

WRITERS = {".parquet": pa_parquet.ParquetWriter, ".csv": pa_csv.CSVWriter}
#: names of the id column and the time column in other libraries; Potstill's layout keeps those of the input
LAYOUTS = {
    "potstill": None,
    "chronos": ("item_id", "timestamp"),
    "nixtla": ("unique_id", "ds"),
    "autogluon": ("item_id", "timestamp"),
}
_MODEL = "Potstill"  # the model's name in Nixtla's column names
_MEDIAN = 0.5


class ForecastTable:
    """Turns forecasts into tables.

    Parameters
    ----------
    store
        The series.
    layout
        A key of ``LAYOUTS``.
    levels
        Quantile levels of the table, ascending.
    mean
        Whether Potstill's layout has a column ``mean``.
    noted
        Whether there is a column ``note``.
    as_text
        Whether times are written as text.
    """

    def __init__(self, store: Store, layout: str, levels: Sequence[float], mean: bool, noted: bool, as_text: bool):
        self.names, self.layout, self.mean, self.noted = LAYOUTS[layout], layout, mean, noted
        self.keys = KeyColumns(store, self.names is not None, as_text)
        self.shown, self.kind = levels, column_type(store)
        #: the levels to forecast: the point forecast of other libraries is the median
        needs_median = layout in ("chronos", "nixtla") and _MEDIAN not in levels
        self.levels = sorted([*levels, _MEDIAN]) if needs_median else list(levels)

    @property
    def own_columns(self) -> list[str]:
        """Columns that have the names and types of the user's table."""
        return [*self.keys.ids, self.keys.time] if self.names is None else []

    def batch(self, rows: Sequence[int], stamps: np.ndarray, forecast: BatchForecast) -> pa.Table:
        """The rows of some series: ``stamps [n · H]`` and their forecasts."""
        horizon = forecast.mean.shape[1]
        places = np.repeat(np.arange(len(rows)), horizon)
        columns: dict[str, Any] = {name: values.take(places) for name, values in self.keys.identity(rows).items()}
        columns[self.keys.time] = self.keys.times(stamps)
        if self.names is not None:
            columns = self._renamed(columns)
        columns |= self._forecasts(forecast)
        if self.noted:
            columns["note"] = pa.array(forecast.notes).take(places)
        return pa.table(columns)

    def _renamed(self, columns: dict[str, Any]) -> dict[str, Any]:
        """Another library's names of the id and the time; the target stands in the id where it has no column for it."""
        assert self.names is not None
        identity, time = columns[self.keys.ids[0]], columns[self.keys.time]
        target = columns.get(TARGET)
        if self.layout == "chronos":
            target = target if target is not None else self._single_target(identity)
            return {self.names[0]: identity, self.names[1]: time, TARGET: target}
        if target is not None:
            texts = [f"{one}/{column}" for one, column in zip(identity.to_pylist(), target.to_pylist(), strict=True)]
            identity = pa.array(texts)
        return {self.names[0]: identity, self.names[1]: time}

    def _single_target(self, identity: Any) -> Any:
        """The names of the value columns: in a wide table that is the id."""
        values = {name for table in self.keys.store.keys.tables if table.ids for name in table.values}
        return pa.array([values.pop()] * len(identity)) if len(values) == 1 else identity

    def _forecasts(self, forecast: BatchForecast) -> dict[str, pa.Array]:
        """The columns of numbers; null where the forecast is missing."""
        values = {level: forecast.quantiles[:, q].ravel() for q, level in enumerate(self.levels)}
        mean = forecast.mean.ravel()
        if self.layout == "chronos":
            named = {"predictions": values[_MEDIAN]} | {f"{level:g}": values[level] for level in self.shown}
        elif self.layout == "autogluon":
            named = {"mean": mean} | {f"{level:g}": values[level] for level in self.shown}
        elif self.layout == "nixtla":
            named = {_MODEL: values[_MEDIAN]}
            named |= {f"{_MODEL}-{_interval(level)}": values[level] for level in self.shown if level != _MEDIAN}
        else:
            named = {"mean": mean} if self.mean else {}
            named |= {f"q{level:g}": values[level] for level in self.shown}
        return {name: pa.array(column.astype(self.kind), from_pandas=True) for name, column in named.items()}


def _interval(level: float) -> str:
    """Nixtla's name of a quantile as the end of a central interval in per cent: 0.1 is ``lo-80``."""
    return f"{'lo' if level < _MEDIAN else 'hi'}-{round(abs(1 - 2 * level) * 100, 6):g}"


@contextmanager
def written(output: Path) -> Iterator[Any]:
    """A function that appends tables to a file, which replaces ``output`` at the end."""
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    os.close(handle)
    writer: Any = None

    def write(table: pa.Table) -> None:
        nonlocal writer
        writer = writer or WRITERS[output.suffix](name, table.schema)
        writer.write_table(table)

    try:
        yield write
        writer.close()
        os.chmod(name, 0o644)
        os.replace(name, output)
    except OSError as error:
        raise UserError(
            f"--output {output}: cannot be written ({error.strerror or error}); free some space or choose another"
            " place.",
            key="output.not_writable",
        ) from None
    finally:
        Path(name).unlink(missing_ok=True)


def as_frame(tables: Sequence[pa.Table], own_columns: Sequence[str], data: Any) -> Any:
    """The tables as a pandas frame; if ``data`` is one too, columns of ids and times get the types that it has."""
    import pandas as pd

    frame: Any = pa.concat_tables(tables).to_pandas(date_as_object=False)
    for column in [c for c in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[c].dtype)]:
        with suppress(ValueError, OverflowError):  # beyond what nanoseconds can hold
            frame[column] = frame[column].dt.as_unit("ns")
    if not isinstance(data, (pd.DataFrame, pd.Series)):
        return frame
    given, _ = flat_frame(data, "frame")
    for column in own_columns:
        if column not in given.columns or column not in frame.columns:
            continue
        kind = given[column].dtype
        if isinstance(kind, pd.PeriodDtype):
            frame[column] = frame[column].dt.to_period(kind.freq)
        elif pd.api.types.is_datetime64_any_dtype(frame[column].dtype) and not pd.api.types.is_datetime64_any_dtype(
            kind
        ):
            continue  # dates that were text are returned as timestamps
        else:
            frame[column] = frame[column].astype(kind)
    return frame
