"""``potstill forecast``: forecast every series of a table into a long table, in bounded memory.

No series is dropped: one that the model cannot read is forecast simply, and one without any value has a missing
forecast; both are noted.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

from potstill.console import progress_bar, say
from potstill.data.series.frames import CONSTANT
from potstill.data.series.from_argument import store_of
from potstill.data.series.store import Store
from potstill.errors import UnknownName, UserError
from potstill.families.base import Forecaster, Model
from potstill.families.base.forecaster import MAX_STEPS
from potstill.tasks.base import forecaster_of
from potstill.verbs.forecasting.series import NOT_FINITE, SeriesForecaster, check_future, reasons, trailing
from potstill.verbs.forecasting.summary import MAX_NAMED, Summary
from potstill.verbs.forecasting.table import LAYOUTS, WRITERS, ForecastTable, as_frame, written

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))
BATCH_SIZE = 256  # series
BATCH_VALUES = 20_000_000  # series times levels times steps: the memory of long forecasts is bounded


@overload
def forecast(
    model: str | Path | Model, data: Any, prediction_length: int, output: str | Path, **options: Any
) -> Path: ...


@overload
def forecast(
    model: str | Path | Model, data: Any, prediction_length: int, output: None = None, **options: Any
) -> pd.DataFrame: ...


def forecast(  # pyright: ignore[reportInconsistentOverload] -- the overloads only tell the two results apart
    model: str | Path | Model,
    data: Any,
    prediction_length: int,
    output: str | Path | None = None,
    *,
    quantiles: Sequence[float] = DEFAULT_LEVELS,
    mean: bool = False,
    non_negative: bool = False,
    strict: bool = False,
    layout: str = "potstill",
    future: Any = None,
    target: str | list[str] | None = None,
    known: str | list[str] | None = None,
    past: str | list[str] | None = None,
    groups: str | None = None,
    id_column: str | list[str] | None = None,
    time_column: str | None = None,
    date_format: str | None = None,
    freq: str | None = None,
    decimal: str | None = None,
    device: str | None = None,
) -> Path | pd.DataFrame:
    """Forecast the steps after the last row of every series; prints what was read, repaired and forecast.

    Parameters
    ----------
    model
        Folder, hub id, ``embedded``, or a loaded forecaster.
    data
        CSV, Parquet or Arrow files, folders of them, or data in memory: a frame, arrays, a GluonTS list.
    prediction_length
        Steps ahead; beyond the trained horizon the forecast is rolled out, with a warning.
    output
        ``.parquet`` or ``.csv``; written atomically. Default: the table is returned as a frame.
    quantiles
        Levels in (0, 1).
    mean
        Whether the table has a column ``mean``.
    non_negative
        Whether negative forecasts become 0.
    strict
        Whether a series that the model cannot forecast, or a file that cannot be read, is an error.
    layout
        ``potstill``, or the column names of ``chronos``, ``nixtla`` or ``autogluon``.
    future
        The known covariates of the steps ahead: a file or a frame with ids, times and the columns ``known``. Without
        it, they are read from rows at the end of ``data`` in which the target is missing.
    target
        Columns to forecast; default: all numeric ones.
    known, past
        Columns that help to forecast: known ahead (the forecast then begins after the last known target), or only up
        to the last row. The model must be able to use them.
    groups
        Series that are forecast together: ``table`` for all of a table, or an id column, whose values name the groups.
    id_column
        Columns that together tell the series apart; default: found.
    time_column, date_format, freq
        The column with times, the format of its dates (as for ``strptime``), and the step of all series as a pandas
        offset; default: found.
    decimal
        The decimal mark of numbers in text, ``.`` or ``,``; default: found.
    device
        ``cpu`` or ``cuda``; default: cuda if available. A loaded model stays where it is by default.

    Returns
    -------
    Path or pandas.DataFrame
        A table with all series in the order of the input. Ids and times have the names, types and time zone of the
        input; in a wide table ``unique_id`` holds the name of the column, and without a time column ``ds`` a row
        number. There is a column ``file`` if there are several files, and ``target_name`` if a long table has several
        columns to forecast. Then ``mean`` and ``q0.1`` … in input units. A constant series is forecast as that
        constant. If a series is not forecast by the model for another reason, a column ``note`` gives it: the last
        value or season is repeated. A series without any value has missing forecasts and a note.

    Raises
    ------
    UserError
        For an unknown file ending, levels outside (0, 1), data without values, and what ``strict`` refuses.
    """
    began = time.monotonic()
    levels = _check(output, prediction_length, quantiles, layout)
    forecaster = forecaster_of(model, device)
    _check_covariates(forecaster, known, bool(known or past or groups), future)
    store, _ = store_of(
        data,
        future,
        target=target,
        known=known,
        past=past,
        groups=groups,
        id_column=id_column,
        time_column=time_column,
        date_format=date_format,
        freq=freq,
        decimal=decimal,
    )
    check_future(store, prediction_length)
    why = reasons(store, forecaster.max_context)
    if strict:
        _refuse(store, why)
    _warn_of_levels(forecaster, levels)
    path = Path(output) if output is not None else None
    as_text = path is not None and path.suffix == ".csv"
    tables: list[pa.Table] = []
    # a forecast that is not finite is only found while forecasting: it adds the column, so all is written again
    for noted in dict.fromkeys((any(reason not in ("", CONSTANT) for reason in why), True)):
        table = ForecastTable(store, layout, levels, mean, noted, as_text)
        series = SeriesForecaster(forecaster, store, prediction_length, table.levels, why)
        summary = Summary(store, table.keys, why, began)
        tables.clear()
        with suppress(_Noted), written(path) if path is not None else nullcontext(tables.append) as write:
            for batch in _batches(series, table, summary, non_negative, strict):
                write(batch)
            break
    say(*summary.lines(prediction_length, non_negative, str(path or "")))
    if path is not None:
        return path
    return as_frame(tables, table.own_columns, data)


class _Noted(Exception):
    """A series has a note, and the table has no column for it."""


def _check(output: str | Path | None, prediction_length: int, quantiles: Sequence[float], layout: str) -> list[float]:
    if output is not None:
        path = Path(output)
        if path.is_dir():
            raise UserError(f"--output {output}: is a folder; give the name of a file.", key="output.is_a_folder")
        if path.suffix not in WRITERS:
            raise UserError(
                f"--output {output}: unknown ending {path.suffix!r}; write a .parquet or a .csv file.",
                key="output.unknown_ending",
            )
        if not path.parent.is_dir():
            raise UserError(
                f"--output {output}: its folder does not exist; create {path.parent} first.",
                key="output.no_parent_folder",
            )
    if layout not in LAYOUTS:
        raise UnknownName("layout", layout, list(LAYOUTS))
    if not 1 <= prediction_length <= MAX_STEPS:
        raise UserError(
            f"--prediction-length {prediction_length}: must be from 1 to {MAX_STEPS:,} steps.",
            key="option.out_of_range",
        )
    levels = sorted(set(quantiles))
    if not levels or not all(0 < level < 1 for level in levels):
        raise UserError(
            f"--quantiles {','.join(map(str, quantiles))}: every level must be between 0 and 1, such as 0.1,0.5,0.9.",
            key="quantiles.bad_levels",
        )
    return levels


def _check_covariates(forecaster: Forecaster, known: Any, used: bool, future: Any) -> None:
    if future is not None and not known:
        raise UserError(
            "--future: name its columns that are known ahead with --known, such as --known promo,price.",
            key="future.without_known",
        )
    if used and "forecast" not in forecaster.group_signals:
        raise UserError(
            f"{forecaster.source.name}: {forecaster.family} models cannot use covariates or groups; leave --known,"
            f" --past and --groups out, or {forecaster.groups_advice}.",
            key="model.no_groups",
        )


def _refuse(store: Store, why: Sequence[str]) -> None:
    """Raise UserError for series that the model cannot forecast and for files that cannot be read."""
    for (kind, reason), entry in store.report.dropped.items():
        if kind == "files":
            raise UserError(
                f"--strict: {entry['count']:,} files cannot be used, such as {entry['examples'][0]} ({reason}); correct"
                " or remove them.",
                key="forecast.strict_file",
            )
    _refuse_series(store.names, why)


def _refuse_series(names: Sequence[str], why: Sequence[str]) -> None:
    bad = [(name, reason) for name, reason in zip(names, why, strict=True) if reason not in ("", CONSTANT)]
    if bad:
        named = "; ".join(f"{name}: {reason}" for name, reason in bad[:MAX_NAMED])
        raise UserError(
            f"--strict: the model cannot forecast {len(bad):,} of {len(names):,} series ({named}); correct or remove"
            " them, or leave --strict out to have them forecast simply.",
            key="forecast.strict_series",
        )


def _warn_of_levels(forecaster: Forecaster, levels: Sequence[float]) -> None:
    first, last = forecaster.levels[[0, -1]].tolist()
    if levels[0] < first - 1e-6 or levels[-1] > last + 1e-6:
        warnings.warn(
            f"{forecaster.source.name} forecasts the levels {first:g} to {last:g}; beyond them quantiles stay flat",
            stacklevel=2,
        )


def _batches(
    series: SeriesForecaster, table: ForecastTable, summary: Summary, non_negative: bool, strict: bool
) -> Iterator[pa.Table]:
    store, horizon = series.store, series.horizon
    tail = trailing(store)
    size = min(BATCH_SIZE, max(BATCH_VALUES // (len(series.levels) * horizon), 1))
    with progress_bar("Forecasting", "series") as progress:
        for first in range(0, len(store), size):
            rows = range(first, min(first + size, len(store)))
            forecast = series.forecast(rows)
            if any(note.startswith(NOT_FINITE) for note in forecast.notes):
                if strict:
                    _refuse_series([store.names[i] for i in rows], forecast.notes)
                if not table.noted:
                    raise _Noted
            # from the table's last row on
            stamps = [table.keys.stamps(i, int(store.lengths[i] + tail[i]) - 1, 1 + horizon) for i in rows]
            summary.add(rows, stamps, forecast)
            if non_negative:
                forecast.quantiles, forecast.mean = forecast.quantiles.clip(min=0), forecast.mean.clip(min=0)
            yield table.batch(rows, np.concatenate([one[1:] for one in stamps]), forecast)
            progress(rows.stop, len(store), "")
