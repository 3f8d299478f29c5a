"""``potstill evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli.options import OF_TRAINING, with_options, with_recipe
from potstill.cli.parse import names
from potstill.recipe import Recipe


@with_recipe(
    *("data", "target", "known", "past", "groups", "id_column", "time_column", "date_format", "freq", "decimal"),
    *("max_files", "context_length", "prediction_length"),
    file=False,
    keys="data.",
    unused=OF_TRAINING,
)
@with_options("device")
def evaluate(
    recipe: Recipe,
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders written by Potstill, Hugging Face checkpoints, hub ids or 'embedded', optionally NAME=MODEL."
            " All forecasters, or all language models."
        ),
    ],
    output: Annotated[str, typer.Option(metavar="DIR", help="Folder for metrics.json and report.html, or fev.csv.")],
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The part, test or validation; or a split of the series as for distill"
            " (default: that of the models' runs).",
        ),
    ] = "test",
    stride: Annotated[
        int | None,
        typer.Option(help="Steps between forecast origins; default: 5, larger for large data, 1 for few windows."),
    ] = None,
    max_windows: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of windows per data set (default: 2,000) or of text examples (default: 500)."
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model that the others are compared with; default: the first.")
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Simple forecasting methods to compare with, default: seasonal_naive,ridge,auto_theta; empty: none."
            " Series only.",
        ),
    ] = None,
    calibrate: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Also evaluate each forecaster with intervals fitted to its errors in the N horizons before a window,"
            " as forecast --calibrate does; 0: none. Default: those that forecast fits by default, which are students.",
        ),
    ] = None,
    fev: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Evaluate forecasters on tasks of fev and write its summaries to fev.csv: a YAML file, or its address,"
            " with a task or a list 'tasks'; FILE.yaml:NAME for one of them. Instead of --data.",
        ),
    ] = None,
    device: str | None = None,
) -> None:
    """Evaluate forecasters (together with baselines) or language models: accuracy, cost, and a report."""
    from potstill import verbs

    verbs.evaluate(
        models,
        recipe.data,
        output,
        split=split,
        stride=stride,
        max_windows=max_windows,
        reference=reference,
        baselines=names(baselines),
        calibrate=calibrate,
        fev=fev,
        device=device,
    )
