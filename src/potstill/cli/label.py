"""``potstill label``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from potstill.cli import options as given
from potstill.cli.parse import names, recipe_of


def label(
    output: Annotated[str, typer.Option(metavar="LABELS", help="Folder of the label store.")],
    recipe: given.RecipePath = None,
    teacher: given.Teachers = None,
    data: given.DataPaths = None,
    target: given.Target = None,
    split: given.Split = None,
    max_files: given.MaxFiles = None,
    context_length: given.ContextLength = None,
    prediction_length: given.PredictionLength = None,
    stride: given.Stride = None,
    settings: given.Settings = None,
    seed: given.Seed = None,
    engine: Annotated[
        Literal["local"], typer.Option(help="Where to compute; 'local' is the only one so far.")
    ] = "local",
) -> None:
    """Let a teacher label every training window once; give the same recipe to `distill --labels`."""
    resolved = recipe_of(
        recipe,
        settings,
        teacher=teacher,
        data=data,
        target=names(target),
        split=split,
        max_files=max_files,
        context_length=context_length,
        prediction_length=prediction_length,
        stride=stride,
        seed=seed,
    )
    from potstill import verbs

    verbs.label(resolved, output, engine=engine)
