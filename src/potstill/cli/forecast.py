"""``potstill forecast``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli import options as given
from potstill.cli.parse import levels, names

LEVELS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"


def forecast(
    model: given.Model,
    data: Annotated[str, typer.Argument(help="CSV or Parquet file or folder to continue.")],
    prediction_length: Annotated[int, typer.Option(min=1, help="Steps to forecast.")],
    output: Annotated[str, typer.Option(metavar="FILE", help="FILE.parquet or FILE.csv.")],
    quantiles: Annotated[str, typer.Option(metavar="0.1,…,0.9", help="Levels between 0 and 1.")] = LEVELS,
    target: given.Target = None,
    device: given.Device = None,
) -> None:
    """Forecast the future of every series in a file."""
    asked = levels(quantiles)
    from potstill import verbs

    verbs.forecast(model, data, prediction_length, output, quantiles=asked, target=names(target), device=device)
