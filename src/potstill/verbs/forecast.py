"""``potstill forecast``: the future of every series of a file or folder, as a long table, in bounded memory."""

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

from potstill.data.series.given import store_of
from potstill.data.series.store import Store
from potstill.errors import UserError
from potstill.families.base import Forecaster
from potstill.families.load import load
from potstill.tasks.forecasting import available

LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))
WRITERS = {".parquet": pa_parquet.ParquetWriter, ".csv": pa_csv.CSVWriter}
BATCH = 256


def forecast(
    model: str,
    data: Any,
    prediction_length: int,
    output: str | Path,
    *,
    quantiles: Sequence[float] = LEVELS,
    target: list[str] | None = None,
    device: str | None = None,
) -> Path:
    """Forecast what follows the last row of every series.

    Parameters
    ----------
    model
        Folder, hub id or ``embedded``.
    data
        CSV or Parquet files, folders of them, or a pandas frame.
    prediction_length
        Steps ahead; beyond the trained horizon the forecast is rolled out, with a warning.
    output
        ``.parquet`` or ``.csv``; written aside and put in place when whole.
    quantiles
        Levels in (0, 1).
    target
        Columns to forecast; default: all numeric ones.
    device
        ``cpu`` or ``cuda``; default: cuda where there is one.

    Returns
    -------
    Path
        The table: ``unique_id``, ``ds`` (a whole number where there is no time), and ``q0.1`` … in input units.

    Raises
    ------
    UserError
        On an unknown ending, levels outside (0, 1), or data without a usable series.
    """
    output = Path(output)
    levels = _check(output, prediction_length, quantiles)
    forecaster = load(model, device=available(device))
    store, _ = store_of(data, target)
    if len(store) == 0:
        reasons = "; ".join(store.report.reasons()[:3])
        raise UserError(
            f"{data}: no series to forecast{f' ({reasons})' if reasons else ''}; give one with numeric rows."
        )
    timed = _timed(store)
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
        for table in _tables(forecaster, store, prediction_length, levels, timed):
            writer = writer or WRITERS[output.suffix](name, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
        os.chmod(name, 0o644)
        os.replace(name, output)
    finally:
        Path(name).unlink(missing_ok=True)
    return output


def _check(output: Path, prediction_length: int, quantiles: Sequence[float]) -> list[float]:
    if output.suffix not in WRITERS:
        raise UserError(f"--output {output}: unknown ending {output.suffix!r}; write a .parquet or a .csv file.")
    if not output.parent.is_dir():
        raise UserError(f"--output {output}: its folder does not exist; make {output.parent} first.")
    if prediction_length < 1:
        raise UserError(f"--prediction-length {prediction_length}: must be at least 1 step.")
    levels = sorted(set(quantiles))
    if not levels or not all(0 < level < 1 for level in levels):
        raise UserError(
            f"--quantiles {','.join(map(str, quantiles))}: every level must lie between 0 and 1, as 0.1,0.5,0.9."
        )
    return levels


def _timed(store: Store) -> bool:
    """Whether every data set has a calendar: where one has none all get row numbers, as a column has one type."""
    without = [name for name, frequency in zip(store.datasets, store.frequency, strict=True) if not frequency]
    if without and len(without) < len(store.datasets):
        warnings.warn(f"{without[0]} has no time column, so ds holds row numbers for every series", stacklevel=1)
    return not without


def _tables(forecaster: Forecaster, store: Store, horizon: int, levels: list[float], timed: bool) -> Iterator[pa.Table]:
    wanted = torch.tensor(levels)
    for first in track(range(0, len(store), BATCH), description="Forecasting", transient=True):
        rows = range(first, min(first + BATCH, len(store)))
        length = min(forecaster.max_context, max(len(store.series(i)) for i in rows))
        context = np.full((len(rows), length), np.nan, dtype=np.float32)
        for place, i in enumerate(rows):
            known = store.series(i)[-length:]
            context[place, length - len(known) :] = known
        values = forecaster.predict(torch.from_numpy(context), horizon).at_levels(wanted).quantiles.numpy()
        stamps = [store.timestamps(i, len(store.series(i)), horizon) for i in rows]
        ds = np.concatenate(stamps) if timed else np.concatenate([_numbers(store, i, horizon) for i in rows])
        columns = {"unique_id": np.repeat([store.names[i] for i in rows], horizon), "ds": ds}
        columns |= {f"q{level:g}": values[:, q].reshape(-1) for q, level in enumerate(levels)}
        yield pa.table(columns)


def _numbers(store: Store, i: int, horizon: int) -> np.ndarray:
    return len(store.series(i)) + np.arange(horizon)
