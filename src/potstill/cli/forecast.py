"""``potstill forecast``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from potstill.cli.options import Concurrency, Engine, GpusPerWorker, Model, RayAddress, with_options
from potstill.cli.parse import levels

DEFAULT_LEVELS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"


@with_options(
    *("target", "known", "past", "groups", "id_column", "time_column", "date_format", "freq", "decimal", "device"),
)
def forecast(
    model: Model,
    data: Annotated[str, typer.Argument(help="CSV or Parquet file or folder with the series.")],
    prediction_length: Annotated[int, typer.Option(min=1, help="Steps to forecast.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="Output table: FILE.parquet or FILE.csv.")],
    quantiles: Annotated[
        str, typer.Option(metavar="0.1,…,0.9", help="Quantile levels between 0 and 1.")
    ] = DEFAULT_LEVELS,
    mean: Annotated[bool, typer.Option("--mean", help="Add a column with the mean.")] = False,
    non_negative: Annotated[bool, typer.Option("--non-negative", help="Set negative forecasts to 0.")] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse series that the model cannot forecast, instead of forecasting simply."),
    ] = False,
    layout: Annotated[
        Literal["potstill", "chronos", "nixtla", "autogluon"],
        typer.Option(help="Column names: those of the input, or those of another library."),
    ] = "potstill",
    future: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Table with ids, times and the --known columns of the steps ahead."),
    ] = None,
    known_method: Annotated[
        Literal["auto", "model", "regression"],
        typer.Option(help="How --known columns are used; auto: as the last known steps show."),
    ] = "auto",
    calibrate: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Fit the width of each series' intervals to the model's errors in the N horizons before the forecast;"
            " 0: do not. Default: as saved with the model, usually 4 for a student and 0 for others.",
        ),
    ] = None,
    engine: Engine = "local",
    ray_address: RayAddress = None,
    concurrency: Concurrency = None,
    gpus_per_worker: GpusPerWorker = None,
    target: list[str] | None = None,
    known: list[str] | None = None,
    past: list[str] | None = None,
    groups: str | None = None,
    id_column: list[str] | None = None,
    time_column: str | None = None,
    date_format: str | None = None,
    freq: str | None = None,
    decimal: str | None = None,
    device: str | None = None,
) -> None:
    """Forecast the future of every series in a file."""
    quantile_levels = levels(quantiles)
    from potstill import verbs

    verbs.forecast(
        model,
        data,
        prediction_length,
        output,
        quantiles=quantile_levels,
        mean=mean,
        non_negative=non_negative,
        strict=strict,
        layout=layout,
        future=future,
        target=target,
        known=known,
        past=past,
        known_method=known_method,
        calibrate=calibrate,
        groups=groups,
        id_column=id_column,
        time_column=time_column,
        date_format=date_format,
        freq=freq,
        decimal=decimal,
        device=device,
        engine=engine,
        ray_address=ray_address,
        concurrency=concurrency,
        gpus_per_worker=gpus_per_worker,
    )
