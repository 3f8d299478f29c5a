"""``potstill evaluate``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli import options as given
from potstill.cli.parse import names, recipe_of
from potstill.errors import UserError


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Folders made here, upstream checkpoints, hub ids, 'embedded'; forecasters or language models."
        ),
    ],
    output: Annotated[str, typer.Option(metavar="DIR", help="Folder for metrics.json and report.html.")],
    data: given.DataPaths = None,
    target: given.Target = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="test or validation; or how series are cut, as for distill (default: as the run's)."
        ),
    ] = "test",
    max_files: given.MaxFiles = None,
    context_length: given.ContextLength = None,
    prediction_length: given.PredictionLength = None,
    stride: Annotated[int | None, typer.Option(help="Steps between origins; default: 5, wider when large.")] = None,
    max_windows: Annotated[
        int | None, typer.Option(help="Most windows per data set, of text examples; default: 2,000, of text 500.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Model that the others are held against.")
    ] = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…",
            help="Simple rivals, default: seasonal_naive,ridge,auto_theta; empty for none. Series only.",
        ),
    ] = None,
    device: given.Device = None,
    settings: given.Settings = None,
) -> None:
    """Measure forecasters (beside baselines) or language models on data: accuracy, cost, and a report."""
    for text in settings or []:
        if not text.startswith("data."):
            raise UserError(f"--set {text}: evaluating reads the data keys alone; write data.KEY=VALUE.")
    config = recipe_of(
        None,
        settings,
        data=data,
        target=names(target),
        max_files=max_files,
        context_length=context_length,
        prediction_length=prediction_length,
    ).data
    from potstill import verbs

    verbs.evaluate(
        models,
        config,
        output,
        split=split,
        stride=stride,
        max_windows=max_windows,
        reference=reference,
        baselines=names(baselines),
        device=device,
    )
