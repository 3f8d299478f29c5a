"""``potstill distill``."""

from __future__ import annotations

from typing import Annotated

import typer

from potstill.cli import options as given
from potstill.cli.parse import names, recipe_of


def distill(
    output: Annotated[str, typer.Option(metavar="RUN", help="Folder of the run; must not hold one already.")],
    recipe: given.RecipePath = None,
    task: given.Task = None,
    teacher: given.Teachers = None,
    data: given.DataPaths = None,
    student: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY[:key=value,…]", help="Replaces the recipe's student; without FAMILY the teacher's."
        ),
    ] = None,
    target: given.Target = None,
    split: given.Split = None,
    max_files: given.MaxFiles = None,
    max_steps: given.MaxSteps = None,
    epochs: given.Epochs = None,
    batch_size: given.BatchSize = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    alpha: Annotated[float | None, typer.Option(help="1: the teacher alone; 0: the truth alone.")] = None,
    device: given.Device = None,
    context_length: given.ContextLength = None,
    prediction_length: given.PredictionLength = None,
    stride: given.Stride = None,
    labels: Annotated[str | None, typer.Option(metavar="LABELS", help="Folder made by `potstill label`.")] = None,
    settings: given.Settings = None,
    control: Annotated[bool, typer.Option("--control", help="Train a twin without teacher, too.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    seed: given.Seed = None,
) -> None:
    """Distil teachers into a student: a run folder with the student, its metrics and a report."""
    resolved = recipe_of(
        recipe,
        settings,
        task=task,
        teacher=teacher,
        student=student,
        data=data,
        target=names(target),
        split=split,
        max_files=max_files,
        max_steps=max_steps,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        alpha=alpha,
        device=device,
        context_length=context_length,
        prediction_length=prediction_length,
        stride=stride,
        labels=labels,
        control=control or None,
        seed=seed,
    )
    from potstill import verbs

    verbs.distill(resolved, output, resume=resume, dry_run=dry_run)
