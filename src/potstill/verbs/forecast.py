"""``potstill forecast``: forecast every series of a file or folder into a long table, in bounded memory.

A series that the model cannot read (constant, too few values) is forecast without the model, so that none is dropped.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
import torch
from rich.progress import track

from potstill.console import say
from potstill.data.series.frames import CONSTANT
from potstill.data.series.from_argument import store_of
from potstill.data.series.store import Store
from potstill.errors import NotFinite, UserError
from potstill.families.base import Forecaster
from potstill.families.load import load_forecaster
from potstill.tasks.base import available_device

DEFAULT_LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))
TABLE_WRITERS = {".parquet": pa_parquet.ParquetWriter, ".csv": pa_csv.CSVWriter}
BATCH_SIZE = 256
MAX_NAMED = 5  # data sets and series that a message names


def forecast(
    model: str,
    data: Any,
    prediction_length: int,
    output: str | Path,
    *,
    quantiles: Sequence[float] = DEFAULT_LEVELS,
    target: list[str] | None = None,
    device: str | None = None,
) -> Path:
    """Forecast the steps after the last row of every series; prints what was read, repaired and left out.

    Parameters
    ----------
    model
        Folder, hub id or ``embedded``.
    data
        CSV or Parquet files, folders of them, or a pandas data frame.
    prediction_length
        Steps ahead; beyond the trained horizon the forecast is rolled out, with a warning.
    output
        ``.parquet`` or ``.csv``; written atomically.
    quantiles
        Levels in (0, 1).
    target
        Columns to forecast; default: all numeric ones.
    device
        ``cpu`` or ``cuda``; default: cuda if available.

    Returns
    -------
    Path
        The table: ``unique_id``, ``ds`` (a row number if the data have no time column), and ``q0.1`` … in input
        units. A constant series is forecast as that constant. If a series is not forecast by the model for another
        reason, a column ``note`` gives the reason.

    Raises
    ------
    UserError
        For an unknown file ending, levels outside (0, 1), or data without values.
    """
    output = Path(output)
    levels = _check(output, prediction_length, quantiles)
    forecaster = load_forecaster(model, device=available_device(device))
    store, _ = store_of(data, target)
    say(*store.report.lines())
    timed, notes = _timed(store), _notes(store, forecaster)
    outermost = forecaster.levels[[0, -1]].tolist()
    if levels[0] < outermost[0] - 1e-6 or levels[-1] > outermost[1] + 1e-6:
        warnings.warn(
            f"{model} forecasts the levels {outermost[0]:g} to {outermost[1]:g}; beyond them quantiles stay flat",
            stacklevel=1,
        )
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    os.close(handle)
    try:
        writer = None
        for table in _tables(forecaster, store, prediction_length, levels, timed, notes):
            writer = writer or TABLE_WRITERS[output.suffix](name, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
        os.chmod(name, 0o644)
        os.replace(name, output)
    finally:
        Path(name).unlink(missing_ok=True)
    say(*_steps(store), *_closing(store, notes, prediction_length, output))
    return output


def _check(output: Path, prediction_length: int, quantiles: Sequence[float]) -> list[float]:
    if output.suffix not in TABLE_WRITERS:
        raise UserError(
            f"--output {output}: unknown ending {output.suffix!r}; write a .parquet or a .csv file.",
            key="output.unknown_ending",
        )
    if not output.parent.is_dir():
        raise UserError(
            f"--output {output}: its folder does not exist; create {output.parent} first.",
            key="output.no_parent_folder",
        )
    if prediction_length < 1:
        raise UserError(f"--prediction-length {prediction_length}: must be at least 1 step.", key="option.out_of_range")
    levels = sorted(set(quantiles))
    if not levels or not all(0 < level < 1 for level in levels):
        raise UserError(
            f"--quantiles {','.join(map(str, quantiles))}: every level must be between 0 and 1, such as 0.1,0.5,0.9.",
            key="quantiles.bad_levels",
        )
    return levels


def _timed(store: Store) -> bool:
    """Whether every data set has times; otherwise all get row numbers, because a column has one type."""
    without = [name for name, frequency in zip(store.datasets, store.frequency, strict=True) if not frequency]
    if without and len(without) < len(store.datasets):
        warnings.warn(f"{without[0]} has no time column, so ds holds row numbers for every series", stacklevel=1)
    return not without


def _notes(store: Store, forecaster: Forecaster) -> list[str]:
    """Why the model does not forecast a series, or an empty string; a constant needs no model and no note."""
    longest = forecaster.max_context
    notes = []
    for i, why in enumerate(store.skip):
        if why in ("", CONSTANT) and _tail(store, i) >= longest:
            why = f"no value in the last {longest:,} rows"
        notes.append(f"{why}: the last value is repeated" if why not in ("", CONSTANT) else "")
    return notes


def _tail(store: Store, i: int) -> int:
    """Rows of the table after the last known value of a series; its forecast begins after them."""
    return int(store.grid_rows[i] - store.first_row[i] - store.lengths[i])


def _tables(
    forecaster: Forecaster, store: Store, horizon: int, levels: list[float], timed: bool, notes: list[str]
) -> Iterator[pa.Table]:
    kind = np.float64 if store.rescaled.any() else np.float32  # of all batches: a column has one type
    for first in track(range(0, len(store), BATCH_SIZE), description="Forecasting", transient=True):
        rows = range(first, min(first + BATCH_SIZE, len(store)))
        values = np.empty((len(rows), len(levels), horizon))
        flat = np.array([bool(notes[i] or store.skip[i]) for i in rows])
        for place in np.flatnonzero(flat):
            values[place] = store.series(rows[place])[-1]
        readable = [i for i, is_flat in zip(rows, flat, strict=True) if not is_flat]
        if readable:
            values[~flat] = _quantiles(forecaster, store, readable, horizon, levels)
        values = store.to_input_units(np.array(rows), values).astype(kind)
        begins = [int(store.lengths[i]) + _tail(store, i) for i in rows]
        stamps = [
            store.timestamps(i, begin, horizon) if timed else begin + np.arange(horizon)
            for i, begin in zip(rows, begins, strict=True)
        ]
        columns = {"unique_id": np.repeat([store.names[i] for i in rows], horizon), "ds": np.concatenate(stamps)}
        columns |= {f"q{level:g}": values[:, q].reshape(-1) for q, level in enumerate(levels)}
        if any(notes):
            columns["note"] = np.repeat([notes[i] for i in rows], horizon)
        yield pa.table(columns)


def _quantiles(
    forecaster: Forecaster, store: Store, series: list[int], horizon: int, levels: list[float]
) -> np.ndarray:
    """``[n, Q, H]``: the model's quantiles of these series. Missing values at the end are part of the context."""
    lengths = [len(store.series(i)) + _tail(store, i) for i in series]
    length = min(forecaster.max_context, max(lengths))
    context = np.full((len(series), length), np.nan, dtype=np.float32)
    for place, i in enumerate(series):
        end = length - _tail(store, i)
        known = store.series(i)[-end:]
        context[place, end - len(known) : end] = known
    try:
        forecast = forecaster.predict(torch.from_numpy(context), horizon).at_levels(torch.tensor(levels))
        quantiles = forecast.quantiles.numpy()
        bad = np.flatnonzero(~np.isfinite(quantiles).all(axis=(1, 2)))
        if len(bad):  # the result exceeds the range of single precision
            raise NotFinite(forecaster.source.name, bad.tolist(), len(series))
    except NotFinite as error:
        raise UserError(
            f"{forecaster.source.name}: its forecast of {store.names[series[error.rows[0]]]} is not finite; the model"
            " is broken, or the values are too large for it: leave that series out or convert it to another unit.",
            key="model.forecast_not_finite",
        ) from None
    return quantiles


def _steps(store: Store) -> list[str]:
    """The detected step and season of the first few data sets."""
    lines = []
    for dataset, name in enumerate(store.datasets[:MAX_NAMED]):
        step = f"step {store.frequency[dataset]}" if store.frequency[dataset] else "no time"
        step = step if store.regular[dataset] else "no regular step"
        lines.append(f"{name}: {step}, season {store.season[np.argmax(store.dataset_of == dataset)]}")
    return lines + [f"… and {len(store.datasets) - MAX_NAMED:,} more files"] * (len(store.datasets) > MAX_NAMED)


def _closing(store: Store, notes: list[str], horizon: int, output: Path) -> list[str]:
    """How many series came in and went out, and those forecast without the model."""
    lines = []
    trailing = [name for i, name in enumerate(store.names) if _tail(store, i)]
    constant = [name for name, why, note in zip(store.names, store.skip, notes, strict=True) if why and not note]
    for names, what in (
        (trailing, "end with missing values, forecast from the table's last row on"),
        (constant, "constant, forecast as that constant"),
        ([name for name, note in zip(store.names, notes, strict=True) if note], "forecast without the model, see note"),
    ):
        if names:
            lines.append(
                f"{len(names):,} series {what}: {', '.join(names[:MAX_NAMED])}{', …' * (len(names) > MAX_NAMED)}"
            )
    lost = sum(entry["count"] for (kind, _), entry in store.report.dropped.items() if kind == "series")
    total = f"{len(store):,} of {len(store) + lost:,} series forecast"
    return [*lines, f"{total}, {horizon:,} steps each, written to {output}"]
