"""``potstill label``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from potstill.cli import options as given
from potstill.cli.parse import names, recipe_of


def label(
    output: Annotated[str, typer.Option(metavar="LABELS", help="Folder of the label store.")],
    recipe: given.RecipePath = None,
    task: given.Task = None,
    teacher: given.Teachers = None,
    data: given.DataPaths = None,
    target: given.Target = None,
    split: given.Split = None,
    max_files: given.MaxFiles = None,
    max_steps: given.MaxSteps = None,
    epochs: given.Epochs = None,
    batch_size: given.BatchSize = None,
    device: given.Device = None,
    context_length: given.ContextLength = None,
    prediction_length: given.PredictionLength = None,
    stride: given.Stride = None,
    settings: given.Settings = None,
    seed: given.Seed = None,
    engine: Annotated[
        Literal["local"], typer.Option(help="Where to compute; 'local' is the only one so far.")
    ] = "local",
) -> None:
    """Let a teacher label every training window once; give the same recipe and options to `distill --labels`.

    Steps and batch size count where windows are generated or mixed: they say how many a run will see.
    """
    resolved = recipe_of(
        recipe,
        settings,
        task=task,
        teacher=teacher,
        data=data,
        target=names(target),
        split=split,
        max_files=max_files,
        max_steps=max_steps,
        epochs=epochs,
        batch_size=batch_size,
        device=device,
        context_length=context_length,
        prediction_length=prediction_length,
        stride=stride,
        seed=seed,
    )
    from potstill import verbs

    verbs.label(resolved, output, engine=engine)
