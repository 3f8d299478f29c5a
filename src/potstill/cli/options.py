"""Arguments and options that several verbs share: their type, how they are written, what help says of them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

RecipePath = Annotated[str | None, typer.Argument(metavar="RECIPE.yaml", help="Recipe to start from; options win.")]
Model = Annotated[
    str, typer.Argument(help="A folder made here, an upstream checkpoint, a hub id, a GGUF file, or 'embedded'.")
]
Task = Annotated[
    Literal["forecast", "language"] | None, typer.Option(help="Forecasters (the default) or causal language models.")
]
Teachers = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher", metavar="[NAME=]ID_OR_FOLDER[:WEIGHT]", help="Teacher(s); 'embedded' ships with Potstill."
    ),
]
DataPaths = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="PATH...", help="CSV or Parquet files (text: JSON too) or folders; 'embedded' is ETTh1."
    ),
]
Target = Annotated[str | None, typer.Option(metavar="COL,…", help="Columns to forecast; default: every numeric one.")]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="8:1:1, ett, suite, by-file, or DATE1,DATE2.")]
MaxFiles = Annotated[int | None, typer.Option(help="Read at most so many files.")]
ContextLength = Annotated[int | None, typer.Option(help="Steps of history in a window.")]
PredictionLength = Annotated[int | None, typer.Option(help="Steps to forecast in a window.")]
Stride = Annotated[int | None, typer.Option(help="Steps between the origins of neighbouring windows.")]
BatchSize = Annotated[int | None, typer.Option(help="Windows in a batch.")]
MaxSteps = Annotated[int | None, typer.Option(help="Optimiser steps, in place of --epochs.")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the training windows, in place of --max-steps.")]
Device = Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="Default: cuda where there is one.")]
Seed = Annotated[int | None, typer.Option(help="Same seed, same machine: same student.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="DOTTED.KEY=VALUE", help="Any key of the recipe; the value is read as YAML. Repeatable."
    ),
]
