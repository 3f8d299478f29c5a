"""``potstill forecast``: forecast every series of a table into a long table, in bounded memory.

No series is dropped: one that the model cannot read is forecast simply, and one without any value has a missing
forecast; both are noted.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args, overload

from potstill.compute.cluster import connected
from potstill.compute.options import ray_options
from potstill.console import say
from potstill.data.series.from_argument import store_of
from potstill.data.series.store import Store
from potstill.errors import UnknownName, UserError
from potstill.families.base import Forecaster, Model
from potstill.families.base.forecaster import MAX_STEPS
from potstill.recipe.evaluation import MOST_HORIZONS
from potstill.recipe.reading import absolute_source
from potstill.remote.urls import is_url
from potstill.tasks.base import forecaster_of
from potstill.verbs.forecasting.batches import TableSettings
from potstill.verbs.forecasting.known_method import MODEL, REGRESSION, Choice, KnownMethod, choose
from potstill.verbs.forecasting.output import check_output, keep_inputs, local_file
from potstill.verbs.forecasting.run import ForecastRun, in_process, on_cluster, refuse_series
from potstill.verbs.forecasting.series import check_future, reasons
from potstill.verbs.forecasting.table import LAYOUTS, as_frame

if TYPE_CHECKING:
    import pandas as pd

DEFAULT_LEVELS = tuple(round(0.1 * k, 1) for k in range(1, 10))


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
    known_method: KnownMethod = "auto",
    calibrate: int | None = None,
    groups: str | None = None,
    id_column: str | list[str] | None = None,
    time_column: str | None = None,
    date_format: str | None = None,
    freq: str | None = None,
    decimal: str | None = None,
    device: str | None = None,
    engine: str = "local",
    ray_address: str | None = None,
    concurrency: int | None = None,
    gpus_per_worker: float | None = None,
) -> Path | pd.DataFrame:
    """Forecast the steps after the last row of every series; prints what was read, repaired and forecast.

    Parameters
    ----------
    model
        Folder, hub id, ``embedded``, or a loaded forecaster.
    data
        CSV, Parquet or Arrow files, folders of them, URLs of such, or data in memory: a frame, arrays, a GluonTS list.
    prediction_length
        Steps ahead; beyond the trained horizon the forecast is rolled out, with a warning.
    output
        ``.parquet`` or ``.csv``; written atomically. A URL is written locally first, and returned as it is given.
        Default: the table is returned as a frame.
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
        to the last row. The model must be able to use them, except with ``known_method="regression"``.
    known_method
        How the columns ``known`` are used: by the ``model``, or by a ``regression`` for each series, on whose
        residuals the model forecasts. ``auto`` compares both on the last known steps, leaves the columns out where they
        do not help, and says so. The numbers of ``predict_df`` are those of ``model``.
    calibrate
        Horizons before the forecast on which the model's intervals are tested: their width is changed for each series
        so that the band from 10 % to 90 % would have held 80 % of the true values. Median and mean stay. Takes as many
        further forecasts; 0: none. Default: as saved with the model (``training.calibrate_horizons``), 4 for students.
        The numbers of ``predict_df`` are those of 0.
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
        Such as ``cpu`` or ``cuda:1``; default: a GPU if there is one. A loaded model stays where it is by default.
    engine
        Where the model runs: ``local``, in this process, or ``ray``, in the workers of a Ray cluster. The table is the
        same.
    ray_address, concurrency, gpus_per_worker
        As for :func:`potstill.label`.

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
    levels = _check(output, prediction_length, quantiles, layout, calibrate)
    ray = ray_options(engine, ray_address, concurrency, gpus_per_worker, device)
    if ray is not None and isinstance(model, Model):
        raise UserError(
            f"--engine ray: the workers load the model from its place; give the folder or id of {model.source.name}"
            " instead of the loaded model.",
            key="ray.loaded_model",
        )
    forecaster = forecaster_of(model, device)
    _check_covariates(forecaster, known, past or groups, known_method, future)
    store, section = store_of(
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
    if output is not None:
        keep_inputs(output, section, future)
    check_future(store, prediction_length)
    why = reasons(store, forecaster.max_context)
    if strict:
        _refuse(store, why)
    _warn_of_levels(forecaster, levels)
    method, said_of_known = _decided(known_method, forecaster, store, why, prediction_length, levels)
    as_text = output is not None and Path(output).suffix == ".csv"
    horizons = forecaster.calibrate_horizons if calibrate is None else calibrate
    settings = TableSettings(layout, levels, mean, False, as_text, prediction_length, non_negative, method, horizons)
    run = ForecastRun(store, why, forecaster.source.name, settings, strict, began)
    with local_file(output) as path, connected(ray) if ray is not None else nullcontext() as cluster:
        if cluster is None:
            forecasts = in_process(forecaster, store, why)
        else:
            forecasts = on_cluster(cluster, absolute_source(str(model), "MODEL"), device, store)
        summary, tables = run.write(forecasts, path)
    said = summary.lines(settings, str(output or ""))
    say(*said_of_known, *said, *([cluster.line()] if cluster is not None else []))
    if path is None:
        return as_frame(tables, settings.table(store).own_columns, data)
    return cast("Path", output) if is_url(output) else path


def _check(
    output: str | Path | None, prediction_length: int, quantiles: Sequence[float], layout: str, calibrate: int | None
) -> list[float]:
    if output is not None:
        check_output(output)
    if layout not in LAYOUTS:
        raise UnknownName("layout", layout, list(LAYOUTS))
    if not 1 <= prediction_length <= MAX_STEPS:
        raise UserError(
            f"--prediction-length {prediction_length}: must be from 1 to {MAX_STEPS:,} steps.",
            key="option.out_of_range",
        )
    if calibrate is not None and not (isinstance(calibrate, Integral) and 0 <= calibrate <= MOST_HORIZONS):
        raise UserError(
            f"--calibrate {calibrate}: must be a whole number from 0, for none, to {MOST_HORIZONS}; 4 is usual.",
            key="option.out_of_range",
        )
    levels = sorted(set(quantiles))
    if not levels or not all(0 < level < 1 for level in levels):
        raise UserError(
            f"--quantiles {','.join(map(str, quantiles))}: every level must be between 0 and 1, such as 0.1,0.5,0.9.",
            key="quantiles.bad_levels",
        )
    return levels


def _decided(
    method: KnownMethod, forecaster: Forecaster, store: Store, why: list[str], horizon: int, levels: Sequence[float]
) -> tuple[str, list[str]]:
    """The method of known covariates, and what there is to say of it."""
    if store.covariates is None or not store.covariates.names.known:
        return MODEL, []
    usable = [i for i, reason in enumerate(why) if not reason]
    choice = Choice(method) if method != "auto" else choose(forecaster, store, usable, horizon, levels)
    return choice.method, [choice.line(store.covariates.names.known)]


def _check_covariates(forecaster: Forecaster, known: Any, others: Any, known_method: str, future: Any) -> None:
    if known_method not in get_args(KnownMethod):
        raise UnknownName("known method", known_method, list(get_args(KnownMethod)))
    if known_method != "auto" and not known:
        raise UserError(
            f"--known-method {known_method}: name the columns that are known ahead with --known, such as promo.",
            key="known_method.without_known",
        )
    if future is not None and not known:
        raise UserError(
            "--future: name its columns that are known ahead with --known, such as --known promo,price.",
            key="future.without_known",
        )
    by_model = others or (known and known_method != REGRESSION)
    if by_model and "forecast" not in forecaster.group_signals:
        regress = "" if others else "; --known-method regression uses --known with any model"
        raise UserError(
            f"{forecaster.source.name}: {forecaster.family} models cannot use covariates or groups; leave --known,"
            f" --past and --groups out, or {forecaster.groups_advice}{regress}.",
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
    refuse_series(store.names, why)


def _warn_of_levels(forecaster: Forecaster, levels: Sequence[float]) -> None:
    first, last = forecaster.levels[[0, -1]].tolist()
    if levels[0] < first - 1e-6 or levels[-1] > last + 1e-6:
        warnings.warn(
            f"{forecaster.source.name} forecasts the levels {first:g} to {last:g}; beyond them quantiles stay flat",
            stacklevel=2,
        )
